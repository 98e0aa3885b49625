"""Values online, for some questions at once: one look-up of all keys, and one look at how far each view has come."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.stores.feature_store.views import ViewVersion

if TYPE_CHECKING:
    from feast import FeatureView

    from pipelines.stores.online.plain import Lookup
    from pipelines.stores.online.reached import Materialized

    Known = Mapping[str, Materialized | None]
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
        """Values of one moment."""
        known, columns = self._plainly(question, asked) or self._as_feast_answers(question, asked)
        told = _told(question, known)
        return [_online(question, known, told, columns, row, moment) for row, (_, moment) in enumerate(asked)]

    def _plainly(self, question: "_Question", asked: Sequence[Asked]) -> "tuple[Known, Columns] | None":
        """As our own online stores tell it; None where a key is Feast's to convert."""
        keys = [(wish, [wish.key(entities) for entities, _ in asked]) for wish in question.lookups]
        if not keys or any(None in found for _, found in keys):
            return None
        store = self._features.store
        read = store._get_provider().online_store.plain(store.config, keys)
        columns = {
            f"{wish.view.name}__{name}": [(values[place], at) for at, values in found.rows]
            for (wish, _), found in zip(keys, read, strict=True)
            for place, name in enumerate(wish.features)
        }
        known = {wish.view.name: found.reached for (wish, _), found in zip(keys, read, strict=True)}
        return known, columns

    def _as_feast_answers(self, question: "_Question", asked: Sequence[Asked]) -> "tuple[Known, Columns]":
        """Read again while a materialization ends meanwhile."""
        from pipelines.stores.online.plain import unmoved

        def read() -> Any:
            return self._features.store.get_online_features(
                features=question.references,
                entity_rows=[dict(entities) for entities, _ in asked],
                full_feature_names=True,
            )

        known, answer = unmoved(lambda: self._known(question), read)
        columns = dict(_columns(answer.proto))
        return known, {name: columns[column] for name, column, _ in question.columns}

    def _question(self, names: tuple[str, ...], views: tuple[tuple[str, int], ...]) -> "_Question":
        """What must be looked up for these features, found out once."""
        if (names, views) not in self._questions:
            numbers = self._features.pinned(names, dict(views))
            versions = {view: self._features.version(view, number) for view, number in numbers.items()}
            definitions = {view: self._features.definition(version) for view, version in versions.items()}
            references = [reference(name, numbers) for name in names]
            columns = [(n, answered(r), n.split("__")[0]) for n, r in zip(names, references, strict=True)]
            lifetimes = {view: found.ttl for view, found in definitions.items()}
            self._questions[names, views] = _Question(
                references, columns, definitions, lifetimes, numbers, self._lookups(names, definitions)
            )
        return self._questions[names, views]

    def _lookups(self, names: Sequence[str], definitions: "Mapping[str, FeatureView]") -> "Sequence[Lookup]":
        """How each view is asked for its features; none if our stores cannot be asked so."""
        from pipelines.stores.online.plain import lookup

        store, of_view = self._features.store, dict[str, list[str]]()
        for view, _, feature in (name.partition("__") for name in names):
            of_view.setdefault(view, []).append(feature)
        found = [lookup(store.config, definitions[view], wanted) for view, wanted in of_view.items()]
        whole = hasattr(store._get_provider().online_store, "plain") and None not in found
        return [each for each in found if each and whole]

    def _known(self, question: "_Question") -> "Known":
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
    lookups: "Sequence[Lookup]"


def _online(
    question: _Question,
    known: "Known",
    told: dict[str, Any],
    columns: Columns,
    row: int,
    moment: datetime | None,
) -> Online:
    """One question's values, without those that are no longer fresh."""
    due = {view: _later(moment, state.as_of if state else None) for view, state in known.items()}
    values, since = dict[str, Any](), dict[str, datetime]()
    for name, _, view in question.columns:
        found = columns[name][row]
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
    from pipelines.stores.online.values import python_value

    moments: dict[tuple[int, int], datetime | None] = {(0, 0): None}
    for name, vector in zip(proto.metadata.feature_names.val, proto.results, strict=True):
        pairs = zip(vector.values, vector.event_timestamps, strict=True)
        yield name, [(python_value(value), _moment(stamp, moments)) for value, stamp in pairs]


def _moment(stamp: Any, known: dict[tuple[int, int], datetime | None]) -> datetime | None:
    """A time, made once: a view's rows share theirs."""
    key = stamp.seconds, stamp.nanos
    if key not in known:
        known[key] = stamp.ToDatetime(UTC)
    return known[key]


def _later(moment: datetime | None, known: datetime | None) -> datetime | None:
    return max((time for time in (moment, known) if time), default=None)


def _told(question: _Question, known: "Known") -> dict[str, Any]:
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
