"""Values online, for some questions at once: one look-up of all keys, and one look at how far each view has come."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.stores.feature_store.views import ViewVersion

if TYPE_CHECKING:
    from feast import FeatureView

    from pipelines.stores.online.reached import Materialized

PLAIN = {"double_val", "float_val", "int64_val", "int32_val", "string_val", "bool_val"}
LOOKS = 5
"""How often values are read again when a materialization ended meanwhile."""
Asked = tuple[Mapping[str, Any], datetime | None]
"""The entities of a question, and the moment for which values must be fresh; None: that of the newest knowledge."""
Columns = Mapping[str, Sequence[tuple[Any, datetime | None]]]
"""By column a value of each question, and the event time of the row that it is from."""


@dataclass(frozen=True)
class Online:
    """What was online for one question: view__feature -> value.

    `known` says of each view how far it had come: version, as_of, and the Delta version of its table; null before
    its first materialization. `since` is the event time of each value that is there.
    """

    values: dict[str, Any]
    known: dict[str, Any]
    since: dict[str, datetime] = field(default_factory=dict)


class Deployed(Protocol):
    """What is asked of the feature repository as it is deployed."""

    @property
    def store(self) -> Any: ...
    def pinned(self, names: Iterable[str], views: Mapping[str, int]) -> dict[str, int]: ...
    def version(self, view: str, number: int | None = None) -> ViewVersion: ...
    def definition(self, version: ViewVersion) -> "FeatureView": ...


class OnlineValues:
    """What a deployment has online, as models ask for it."""

    def __init__(self, features: Deployed) -> None:
        self._features = features
        self._questions: dict[tuple[Any, ...], _Question] = {}

    def of(self, names: Sequence[str], asked: Sequence[Asked], views: Mapping[str, int]) -> list[Online]:
        """The features (view__feature) of each question, in their order; those without the same keys go together.

        As in training, a missing key joins nothing: views keyed by such an entity have no value.
        """
        if not names:
            return [Online({}, {}) for _ in asked]
        question, alike = (
            self._question(tuple(names), tuple(sorted(views.items()))),
            dict[frozenset[str], list[int]](),
        )
        for place, (entities, _) in enumerate(asked):
            alike.setdefault(frozenset(k for k, value in entities.items() if value is None), []).append(place)
        found = {
            place: online
            for blank, places in alike.items()
            for place, online in zip(
                places, self._alike(question, blank, names, [asked[p] for p in places], views), strict=True
            )
        }
        return [found[place] for place in range(len(asked))]

    def _alike(
        self,
        question: "_Question",
        blank: frozenset[str],
        names: Sequence[str],
        asked: Sequence[Asked],
        views: Mapping[str, int],
    ) -> list[Online]:
        """Of questions that all lack the same keys."""
        if not blank:
            return self._read(question, asked)
        keyed = {name for name, view in question.definitions.items() if blank & set(view.join_keys)}
        left = [name for name in names if name.split("__")[0] not in keyed]
        there = [
            ({k: v for k, v in entities.items() if k not in blank}, moment) for entities, moment in asked
        ]
        known = _told(question, self._known(question))
        return [
            Online(dict.fromkeys(names) | found.values, known | found.known, found.since)
            for found in self.of(left, there, views)
        ]

    def _read(self, question: "_Question", asked: Sequence[Asked]) -> list[Online]:
        """Values of one moment: read again while a materialization ends meanwhile."""
        for _ in range(LOOKS):
            known = self._known(question)
            answer = self._features.store.get_online_features(
                features=question.references,
                entity_rows=[dict(entities) for entities, _ in asked],
                full_feature_names=True,
            )
            if known == self._known(question):
                break
        columns, told = dict(_columns(answer.proto)), _told(question, known)
        return [_online(question, known, told, columns, row, moment) for row, (_, moment) in enumerate(asked)]

    def _question(self, names: tuple[str, ...], views: tuple[tuple[str, int], ...]) -> "_Question":
        """What must be looked up for these features, found out once."""
        if (names, views) not in self._questions:
            numbers = self._features.pinned(names, dict(views))
            versions = {view: self._features.version(view, number) for view, number in numbers.items()}
            definitions = {view: self._features.definition(version) for view, version in versions.items()}
            references = [reference(name, numbers) for name in names]
            columns = [(n, answered(r), n.split("__")[0]) for n, r in zip(names, references, strict=True)]
            lifetimes = {view: found.ttl for view, found in definitions.items()}
            self._questions[names, views] = _Question(references, columns, definitions, lifetimes, numbers)
        return self._questions[names, views]

    def _known(self, question: "_Question") -> "dict[str, Materialized | None]":
        """How far each view of a question has come online."""
        store = self._features.store
        online, config = store._get_provider().online_store, store.config
        return {name: online.materialized(config, view) for name, view in question.definitions.items()}


@dataclass(frozen=True)
class _Question:
    """A list of features as Feast looks them up: references, names in the answer, definitions and TTLs."""

    references: list[str]
    columns: list[tuple[str, str, str]]
    definitions: "dict[str, FeatureView]"
    lifetimes: dict[str, timedelta | None]
    numbers: dict[str, int]


def _online(
    question: _Question,
    known: "Mapping[str, Materialized | None]",
    told: dict[str, Any],
    columns: Columns,
    row: int,
    moment: datetime | None,
) -> Online:
    """One question's values, without those that are no longer fresh."""
    due = {view: _later(moment, state.as_of if state else None) for view, state in known.items()}
    values, since = dict[str, Any](), dict[str, datetime]()
    for name, column, view in question.columns:
        found = columns[column][row]
        values[name] = _fresh(found, question.lifetimes[view], due[view])
        if values[name] is not None and found[1] is not None:
            since[name] = found[1]
    return Online(values, told, since)


def reference(name: str, numbers: Mapping[str, int]) -> str:
    """view__feature as Feast refers to it: view@v2:feature."""
    view, feature = name.split("__", 1)
    return f"{view}@v{numbers[view]}:{feature}"


def answered(reference: str) -> str:
    """What Feast calls the column of a reference online."""
    return reference.replace(":", "__")


def _columns(proto: Any) -> "Iterator[tuple[str, list[tuple[Any, datetime | None]]]]":
    """Each column with its values, and the event times of the rows they are from."""
    moments: dict[tuple[int, int], datetime | None] = {(0, 0): None}
    for name, vector in zip(proto.metadata.feature_names.val, proto.results, strict=True):
        pairs = zip(vector.values, vector.event_timestamps, strict=True)
        yield name, [(_value(value), _moment(stamp, moments)) for value, stamp in pairs]


def _value(value: Any) -> Any:
    """As Feast would make it of its Value; what needs no making is taken as it is."""
    kind = value.WhichOneof("val")
    if kind in PLAIN:
        return getattr(value, kind)
    from feast.type_map import feast_value_type_to_python_type

    return feast_value_type_to_python_type(value)


def _moment(stamp: Any, known: dict[tuple[int, int], datetime | None]) -> datetime | None:
    """A time, made once: a view's rows share theirs."""
    key = stamp.seconds, stamp.nanos
    if key not in known:
        known[key] = stamp.ToDatetime(UTC)
    return known[key]


def _later(moment: datetime | None, known: datetime | None) -> datetime | None:
    return max((time for time in (moment, known) if time), default=None)


def _told(question: _Question, known: "Mapping[str, Materialized | None]") -> dict[str, Any]:
    return {view: _logged(question.numbers[view], state) for view, state in known.items()}


def _logged(number: int, state: "Materialized | None") -> dict[str, Any] | None:
    if state is None:
        return None
    return {"version": number, "as_of": state.as_of.isoformat(), "table": state.source_version}


def _fresh(found: tuple[Any, datetime | None], lifetime: timedelta | None, moment: datetime | None) -> Any:
    """The value, None if it is older than its lifetime at the moment."""
    value, at = found
    if at is None or not lifetime or moment is None or moment - at <= lifetime:
        return value
    return None
