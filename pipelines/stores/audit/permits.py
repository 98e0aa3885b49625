"""A permit: the right of one version that passed its gate to be asked beside the champion, and to answer a share.

It is signed like a licence, and is none: it ends with the rollout, and names the champion beside which it is good.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pipelines.contracts import EvergreenError
from pipelines.stores.audit.keys import Keys
from pipelines.stores.audit.licences import Licence, signed, stated

PERMIT = "permit"
ENDED = "ended"


@dataclass(frozen=True)
class Permit:
    """`share` of those who ask, told apart `by` these fields, are answered by this version beside `champion`.

    `rollout` names the rollout; `record` is the digest of the gate's decision record.
    """

    model: str
    version: int
    digest: str
    champion: int
    rollout: str
    share: float
    by: tuple[str, ...]
    record: str
    who: str
    at: datetime

    @property
    def licence(self) -> Licence:
        """What an answer says of the right by which it was given."""
        return Licence(self.model, self.version, self.digest, "PASS", self.record, self.who, self.at)


def permitted(permit: Permit, keys: Keys) -> dict[str, str]:
    """The tag of a version that holds its permit, with its signature."""
    return {PERMIT: signed(permit, keys)}


def permit_of(model: str, version: int, tags: Mapping[str, str], keys: Keys) -> Permit:
    """The permit of a version; EvergreenError says why it has none."""
    name, said = f"{model} version {version}", tags.get(PERMIT, ENDED)
    if said == ENDED:
        raise EvergreenError(f"{name} is not being rolled out")
    plain = stated(said, keys)
    if plain is None:
        raise EvergreenError(f"{name}: its permit was not written by this deployment; refused")
    found = Permit(**plain | {"at": datetime.fromisoformat(plain["at"]), "by": tuple(plain["by"])})
    if (found.model, found.version, found.digest) != (model, version, tags.get("digest")):
        raise EvergreenError(f"{name} carries the permit of {found.model} version {found.version}; refused")
    return found
