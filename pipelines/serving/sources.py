"""What serving asks of others: where champions come from, and where features do."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from pipelines.catalog import ModelSpec
from pipelines.stores.audit.licences import Licence


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


class FeatureSource(Protocol):
    """Where online features come from: view__feature -> value, None where there is none."""

    def online(
        self,
        names: Sequence[str],
        entities: Mapping[str, Any],
        moment: datetime | None = None,
        views: Mapping[str, int] | None = None,
    ) -> Any: ...
    def feature_names(self, spec: ModelSpec) -> list[str]: ...
