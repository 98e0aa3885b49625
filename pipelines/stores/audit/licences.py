"""What makes a registered version ours, and what lets it serve: two statements, signed by this deployment.

The first is made when a version is registered and binds its file to what it was made from. The second, the licence,
is made when a version passed its gate, or when a person overrode it. Serving loads nothing without both.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from pipelines.contracts import EvergreenError, as_json
from pipelines.stores.audit.keys import Keys

ORIGIN = "signature"
LICENCE = "licence"
# The tags of a version that its signature speaks for.
BOUND = (
    "digest", "baseline_digest", "mlmodel_digest", "as_of", "training_set", "training_rows", "feature_views",
    "spec_digest", "libraries", "parameters", "answers_digest", "onnx_digest",
)  # fmt: skip
SINCE = ("background_digest",)
"""Tags that came later; it speaks for them where there are any, so that those of versions before them still hold."""


class Registered(Protocol):
    """A version as the registry gives it."""

    @property
    def model(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def run_id(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def tags(self) -> Mapping[str, str]: ...


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

    @property
    def overridden(self) -> bool:
        """Whether a person let it serve, not its gate."""
        return self.decision != "PASS"


def origin(version: Registered, keys: Keys) -> dict[str, str]:
    """The tag that vouches for exactly this version: its number, its run, where its files lie, and its tags."""
    return {ORIGIN: keys.sign(_made(version))}


def verify_origin(version: Registered, keys: Keys) -> None:
    """EvergreenError unless this deployment registered exactly this version."""
    name = f"{version.model} version {version.version}"
    if ORIGIN not in version.tags:
        raise EvergreenError(
            f"{name} carries no signature: it was not registered by this deployment; refused"
        )
    if not keys.verifies(_made(version), version.tags[ORIGIN]):
        raise EvergreenError(
            f"{name}: its signature is not for these tags; what it was made from was changed, "
            "or another deployment signed it; refused"
        )


def signed(statement: Any, keys: Keys) -> str:
    """A statement and its signature in one text, so that a tag which holds it is written whole."""
    text = json.dumps(as_json(statement), sort_keys=True)
    return f"{keys.sign(text.encode())} {text}"


def stated(tag: str, keys: Keys) -> dict[str, Any] | None:
    """What `signed` put into a text, as plain JSON; None if this deployment did not sign it."""
    signature, _, text = tag.partition(" ")
    return dict(json.loads(text)) if keys.verifies(text.encode(), signature) else None


def licensed(licence: Licence, keys: Keys) -> dict[str, str]:
    """The tag of a version that holds its licence."""
    return {LICENCE: signed(licence, keys)}


def licence_of(model: str, version: int, tags: Mapping[str, str], keys: Keys) -> Licence:
    """The licence of a version; EvergreenError says why it has none."""
    if LICENCE not in tags:
        raise EvergreenError(f"{model} version {version} has not passed its gate; it does not serve")
    plain = stated(tags[LICENCE], keys)
    if plain is None:
        raise EvergreenError(
            f"{model} version {version}: its licence was not written by this deployment; refused"
        )
    found = Licence(**plain | {"at": datetime.fromisoformat(plain["at"])})
    if (found.model, found.version, found.digest) != (model, version, tags.get("digest")):
        raise EvergreenError(
            f"{model} version {version} carries the licence of {found.model} version {found.version} "
            f"({found.digest[:12]}); refused"
        )
    return found


def _made(version: Registered) -> bytes:
    where = [version.model, version.version, version.run_id, version.source]
    bound = [*BOUND, *(name for name in SINCE if name in version.tags)]
    return json.dumps(["model", *where, *([name, version.tags.get(name)] for name in bound)]).encode()
