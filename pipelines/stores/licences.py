"""What makes a registered version ours, and what lets it serve: two statements, signed by this deployment.

The first is made when a version is registered and binds its file to what it was made from. The second, the licence,
is made when a version passed its gate, or when a person overrode it. Serving loads nothing without both.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipelines.contracts import EvergreenError, as_json
from pipelines.stores.keys import Keys

ORIGIN = "signature"
LICENCE, LICENCE_SIGNATURE = "licence", "licence_signature"
# The tags of a version that its signature speaks for.
BOUND = (
    "digest", "baseline_digest", "as_of", "training_set", "training_rows", "feature_views", "spec_digest", "libraries",
)  # fmt: skip


@dataclass(frozen=True)
class Licence:
    """The right of exactly one model file to serve: given by the gate (`decision` PASS) or by a person (OVERRIDE).

    `record` is the digest of the decision record, `by` who is behind it, `why` a person's reason.
    """

    model: str
    version: int
    digest: str
    decision: str
    record: str
    by: str
    at: datetime
    why: str = ""


def origin(model: str, tags: Mapping[str, str], keys: Keys) -> dict[str, str]:
    """The tag that vouches for a version with these tags."""
    return {ORIGIN: keys.sign(_made(model, tags))}


def verify_origin(model: str, version: int, tags: Mapping[str, str], keys: Keys) -> None:
    """EvergreenError unless this deployment registered a version with exactly these tags."""
    if ORIGIN not in tags:
        raise EvergreenError(
            f"{model} version {version} carries no signature: it was not registered by this deployment; refused"
        )
    if not keys.verifies(_made(model, tags), tags[ORIGIN]):
        raise EvergreenError(
            f"{model} version {version}: its signature is not for these tags; what it was made from was changed, "
            "or another deployment signed it; refused"
        )


def licensed(licence: Licence, keys: Keys) -> dict[str, str]:
    """The tags of a version that hold its licence."""
    text = json.dumps(as_json(licence), sort_keys=True)
    return {LICENCE: text, LICENCE_SIGNATURE: keys.sign(text.encode())}


def licence_of(model: str, version: int, tags: Mapping[str, str], keys: Keys) -> Licence:
    """The licence of a version; EvergreenError says why it has none."""
    if LICENCE not in tags:
        raise EvergreenError(f"{model} version {version} has not passed its gate; it does not serve")
    if not keys.verifies(tags[LICENCE].encode(), tags.get(LICENCE_SIGNATURE, "")):
        raise EvergreenError(
            f"{model} version {version}: its licence was not written by this deployment; refused"
        )
    plain: dict[str, Any] = json.loads(tags[LICENCE])
    found = Licence(**plain | {"at": datetime.fromisoformat(plain["at"])})
    if (found.model, found.version, found.digest) != (model, version, tags.get("digest")):
        raise EvergreenError(
            f"{model} version {version} carries the licence of {found.model} version {found.version} "
            f"({found.digest[:12]}); refused"
        )
    return found


def _made(model: str, tags: Mapping[str, str]) -> bytes:
    return json.dumps(["model", model, *([name, tags.get(name)] for name in BOUND)]).encode()
