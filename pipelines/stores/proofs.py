"""How the product's promises held the last time they were tried in this deployment."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime

from pipelines.contracts import as_json
from pipelines.places import whole
from pipelines.settings import Settings


@dataclass(frozen=True)
class Kept:
    """One proof: whether the promise held, when it was tried, and by which commit of the code."""

    name: str
    promise: str
    holds: bool
    at: datetime
    commit: str


def keep(proof: Kept, settings: Settings) -> None:
    """The newest takes the place of the one before."""
    with whole(settings.home / "proofs" / f"{proof.name}.json") as part:
        part.write_text(json.dumps(as_json(asdict(proof)), indent=2))


def read(name: str, settings: Settings) -> Kept | None:
    """None if it was never tried here, or the file says nothing."""
    try:
        said = json.loads((settings.home / "proofs" / f"{name}.json").read_text())
        return Kept(**said | {"at": datetime.fromisoformat(said["at"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
