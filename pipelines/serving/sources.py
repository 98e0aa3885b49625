"""What serving asks of others: where champions come from, and where features do."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from pipelines.catalog import ModelSpec
from pipelines.stores.answers.predictions import Prediction, Truth
from pipelines.stores.audit.licences import Licence
from pipelines.stores.audit.permits import Permit
from pipelines.stores.feature_store.online_values import Asked, Online


class ChampionLike(Protocol):
    """What the registry says of the version to serve."""

    @property
    def version(self) -> int: ...
    @property
    def digest(self) -> str: ...
    @property
    def as_of(self) -> Any: ...
    @property
    def views(self) -> Mapping[str, int]: ...


Champions = Callable[[str], ChampionLike | None]


class ModelSource(Protocol):
    """Where champions come from.

    `licence` says what lets a version serve, `fitted` builds it after its file was verified; both raise for any other.
    """

    def champion(self, model: str) -> ChampionLike | None: ...
    def licence(self, version: Any) -> Licence: ...
    def fitted(self, version: Any) -> Any: ...


class Registry(ModelSource, Protocol):
    """A source that is also asked for all champions at once."""

    def champions(self) -> Champions: ...


class Rollouts(Protocol):
    """Which versions are rolled out beside the champions, and by which right; `permit` raises for any other."""

    def challengers(self) -> Champions: ...
    def permit(self, version: Any) -> Permit: ...


class FeatureSource(Protocol):
    """Where online features come from: view__feature -> value, None where there is none."""

    def online_rows(
        self, names: Sequence[str], asked: Sequence[Asked], views: Mapping[str, int] | None = None
    ) -> Sequence[Online]: ...
    def feature_names(self, spec: ModelSpec) -> list[str]: ...


class PredictionLog(Protocol):
    """Where answers are logged, and what became of them; `record` returns once they are durable, all or none."""

    def record(self, *predictions: Prediction) -> None: ...
    def get(self, prediction_id: str) -> Prediction | None: ...
    def tell(self, truth: Truth) -> None: ...


class OneByOne:
    """A source of features that looks up each question by itself, by its `online`."""

    def online_rows(
        self, names: Sequence[str], asked: Sequence[Asked], views: Mapping[str, int] | None = None
    ) -> Sequence[Online]:
        return [self.online(names, *each, views) for each in asked]  # type: ignore[attr-defined]
