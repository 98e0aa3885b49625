"""Who is champion: moved under a lock, told in the audit log before and after, settled after a crash.

MLflow's alias is what serving follows, and moving it is one write. The entry `intend` before it and `promote` or
`rollback` after it tell the log; where a crash came between them, whoever comes next looks at the alias and tells it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pipelines.contracts import EvergreenError
from pipelines.stores import Stores
from pipelines.stores.audit.licences import Licence, licensed
from pipelines.stores.audit.log import Entry
from pipelines.stores.locks import exclusive
from pipelines.stores.tracking.registry import ANCHOR, CHAMPION, PREVIOUS, RETIRED

INTEND, PROMOTE, ROLLBACK, INTERRUPTED, FOREIGN = "intend", "promote", "rollback", "interrupted", "foreign"
MOVED = (PROMOTE, ROLLBACK)
PIN = "pin"


@dataclass(frozen=True)
class Move:
    """A change of champion: `previous` was it until now, `back` is what a rollback goes to afterwards."""

    model: str
    action: str
    champion: int
    previous: int | None
    back: int | None
    digest: str
    record: str
    decision: str


@dataclass(frozen=True)
class Tenure:
    """One time of a version as champion; `until` and `heir` are None while it lasts."""

    version: int
    since: datetime
    action: str
    decision: str
    who: str
    why: str
    replaced: int | None
    until: datetime | None = None
    heir: int | None = None


def subject(model: str) -> str:
    """Under what the audit log keeps the champions of a model."""
    return f"champion:{model}"


@contextmanager
def turn(model: str, stores: Stores, now: datetime) -> Iterator[int | None]:
    """The champion's number, which nobody else moves meanwhile; what a crash left open has been settled."""
    with exclusive(f"champion-{model}", stores.settings):
        settle(model, stores, now)
        yield stores.tracking.named(model, CHAMPION)


def move(wanted: Move, licence: Licence | None, why: str, stores: Stores, now: datetime) -> None:
    """Move the champion, within one's `turn`: intent, licence, alias, outcome. Killed anywhere, `settle` ends it."""
    tags = licensed(licence, stores.keys) if licence else {}
    at = max([now, *(entry.at for entry in _newest(wanted.model, stores))])  # the log's times never go back
    stores.audit.append(
        at, stores.who, INTEND, subject(wanted.model), why, asdict(wanted) | {"licence": tags}
    )
    (intent,) = _newest(wanted.model, stores)
    stores.tracking.tag(wanted.model, wanted.champion, tags)
    stores.tracking.set_alias(wanted.model, CHAMPION, wanted.champion)
    _finish(wanted, intent, stores)


def settle(model: str, stores: Stores, now: datetime) -> None:
    """Tell the log what became of a move that a crash left open, and bring licence and aliases in step with it."""
    for entry in _newest(model, stores):
        champion = stores.tracking.named(model, CHAMPION)
        if entry.action == INTEND:
            plain = dict(entry.evidence)
            licence = plain.pop("licence")
            wanted = Move(**plain)
            if wanted.champion in stores.tracking.numbers(model):
                stores.tracking.tag(model, wanted.champion, licence)
            if champion == wanted.champion:
                _finish(wanted, entry, stores)
            else:
                _tell(entry, INTERRUPTED, model, {"champion": wanted.previous}, stores)
        elif champion != entry.evidence["champion"]:
            found = {"champion": champion, "recorded": entry.evidence["champion"]}
            why = "the alias was moved, or its version deleted, but not by Evergreen"
            stores.audit.append(max(now, entry.at), stores.who, FOREIGN, subject(model), why, found)
    _repin(model, stores, now)


def pin(model: str, version: int, why: str, stores: Stores, now: datetime, once: str | None = None) -> None:
    """Make a version the anchor. The log is told first, and the alias follows it, if need be by the next `settle`."""
    stores.audit.append(now, stores.who, PIN, f"anchor:{model}", why, {"anchor": version}, once)
    _repin(model, stores, now)


def tenures(model: str, stores: Stores) -> list[Tenure]:
    """Every tenure in order, read from the log; a move that a crash left open counts once the alias has moved."""
    found: list[Tenure] = []
    for entry in _moves(model, stores):
        said = entry.evidence
        if found:
            found[-1] = Tenure(**asdict(found[-1]) | {"until": entry.at, "heir": said["champion"]})
        facts = (
            said["champion"],
            entry.at,
            entry.action,
            said["decision"],
            entry.who,
            entry.why,
            said["previous"],
        )
        found.append(Tenure(*facts))
    return found


def line(model: str, stores: Stores) -> list[int]:
    """The champions that one rollback after the other goes through, the one of now last.

    A promotion adds to it, a rollback cuts it off: what people rolled back from, nobody is sent to again.
    """
    found: list[int] = []
    for entry in _moves(model, stores):
        version = entry.evidence["champion"]
        found = added(found, version) if _action(entry) == PROMOTE else cut(found, version)
    return found


def back(model: str, stores: Stores) -> int | None:
    """The version that the newest move left for a rollback to go to, whether it is there or not."""
    intents = stores.audit.entries(subject(model), INTEND)
    moved = [entry for entry in intents if entry.evidence["champion"] == recorded(model, stores)]
    found = moved[-1].evidence["back"] if moved else None
    return None if found is None else int(found)


def recorded(model: str, stores: Stores) -> int | None:
    """The champion that the log says, whether it is there or not."""
    moves = _moves(model, stores)
    return int(moves[-1].evidence["champion"]) if moves else None


def added(line: list[int], version: int) -> list[int]:
    """The line after a promotion."""
    return [each for each in line if each != version] + [version]


def cut(line: list[int], version: int) -> list[int]:
    """The line after a rollback."""
    return line[: line.index(version) + 1] if version in line else [*line[:-1], version]


def _moves(model: str, stores: Stores) -> list[Entry]:
    entries = stores.audit.entries(subject(model))
    moved = [entry for entry in entries if entry.action in MOVED]
    for last in entries[-1:]:
        if last.action == INTEND and stores.tracking.named(model, CHAMPION) == last.evidence["champion"]:
            moved.append(last)
    return moved


def _action(entry: Entry) -> str:
    return str(entry.evidence["action"]) if entry.action == INTEND else entry.action


def _newest(model: str, stores: Stores) -> list[Entry]:
    """The newest entry on a model's champion, if there is one."""
    return stores.audit.entries(subject(model), limit=1)


def _finish(wanted: Move, intent: Entry, stores: Stores) -> None:
    """What follows the move of the alias: each step may be done twice."""
    if wanted.back is None or wanted.back not in stores.tracking.numbers(wanted.model):
        stores.tracking.drop_alias(wanted.model, PREVIOUS)
    else:
        stores.tracking.set_alias(wanted.model, PREVIOUS, wanted.back)
    if wanted.previous is None and stores.tracking.named(wanted.model, ANCHOR) is None:
        once = f"anchor:{wanted.model}:first"
        pin(wanted.model, wanted.champion, "the first champion", stores, intent.at, once)
    said = asdict(wanted)
    said.pop("back")
    _tell(intent, wanted.action, wanted.model, said, stores)


def _tell(intent: Entry, action: str, model: str, said: dict[str, Any], stores: Stores) -> None:
    """The outcome of an intent, at its time and in the name of who had it; said once."""
    once = f"{subject(model)}:{intent.number}"
    stores.audit.append(intent.at, intent.who, action, subject(model), intent.why, said, once)


def _repin(model: str, stores: Stores, now: datetime) -> None:
    """Bring the alias `anchor` in step with the log; one that was deleted in MLflow gets an heir."""
    for entry in stores.audit.entries(f"anchor:{model}", PIN, limit=1):
        anchor = entry.evidence["anchor"]
        if stores.tracking.named(model, ANCHOR) == anchor:
            return
        if anchor in stores.tracking.numbers(model):
            stores.tracking.set_alias(model, ANCHOR, anchor)
        else:
            _inherit(entry, model, stores, now)


def _inherit(deleted: Entry, model: str, stores: Stores, now: datetime) -> None:
    """The oldest champion that is registered and passed its gate takes the place of the anchor, if there is one."""
    gone = deleted.evidence["anchor"]
    been = dict.fromkeys(tenure.version for tenure in tenures(model, stores))
    heir = next((number for number in been if _upright(model, number, stores)), None)
    if heir is not None:
        why = f"version {gone}, the anchor, was deleted in MLflow; the oldest champion that is left takes its place"
        said = {"anchor": heir, "instead_of": gone}
        at, subject_ = max(now, deleted.at), f"anchor:{model}"
        stores.audit.append(at, stores.who, PIN, subject_, why, said, f"{subject_}:after:{deleted.number}")
        stores.tracking.set_alias(model, ANCHOR, heir)


def _upright(model: str, number: int, stores: Stores) -> bool:
    """Whether a version is registered, was not retired, and passed its gate; one that was overridden did not."""
    try:
        found = stores.tracking.version(model, number)
        return RETIRED not in found.tags and not stores.tracking.licence(found).overridden
    except EvergreenError:
        return False
