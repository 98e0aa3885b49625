"""What this project asks of MLflow's records, and the answers as plain values.

MLflow's client takes seconds to import, and a command that only wants to know who is champion needs none of it:
`database` and `rest` answer the same questions without it, and this module through it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.contracts import EvergreenError, TransientError

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}
DELETED = "Deleted_Internal"
"""The stage of a version that was deleted; MLflow keeps its row."""
PROMPT = "mlflow.prompt.is_prompt"
"""The tag of what MLflow registers as a model and is a prompt."""


LOGGED = re.compile(r"^(?:file:|/).*/(?P<model>m-[0-9a-f]{32})/artifacts(?P<rest>(?:/.*)?)$")
"""An address on a disk, below the place of a logged model."""


@dataclass(frozen=True)
class Kept:
    """A version as the registry gives it, whole or not; one that no run made has an empty `run_id`."""

    model: str
    version: int
    run_id: str
    source: str
    tags: dict[str, str]

    def __str__(self) -> str:
        return f"model:{self.model}@{self.version}"


@dataclass(frozen=True)
class Run:
    """A run: when it started (milliseconds since 1970), where its files lie, and what was logged to it."""

    run_id: str
    started: int
    artifacts: str
    tags: Mapping[str, str]
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]


class Records(Protocol):
    """Registered models and runs. What is not there is None or, where one cannot go on, an EvergreenError."""

    def models(self) -> dict[str, dict[str, str]]:
        """The tags of every registered model, by name."""

    def versions(self, model: str) -> list[Kept]:
        """Every version of a model, the newest first."""

    def version(self, model: str, number: int) -> Kept | None: ...

    def aliased(self, model: str, alias: str) -> Kept | None:
        """The version an alias names."""

    def every(self, alias: str) -> "Callable[[str], Kept | None]":
        """The version an alias names, model by model: of one moment and read at once, where the store can do that."""

    def run(self, run_id: str) -> Run: ...

    def location(self, model_id: str) -> str | None:
        """Where the files of a logged model (m-...) lie."""

    def logged(self, run_id: str, name: str) -> str | None:
        """Where the files of the model lie that a run logged under a name."""

    def set_alias(self, model: str, alias: str, version: int) -> None: ...

    def drop_alias(self, model: str, alias: str) -> None: ...

    def tag(self, model: str, version: int, key: str, value: str) -> None: ...

    def tag_model(self, model: str, key: str, value: str) -> None: ...

    def describe(self, model: str, version: int, text: str) -> None: ...


def no_run(run_id: str) -> EvergreenError:
    return EvergreenError(
        f"MLflow has no run {run_id}; it was deleted there, or the tracking URI is another's"
    )


def no_version(model: str, version: int) -> EvergreenError:
    return EvergreenError(
        f"{model} has no version {version} (any more, if it was deleted in MLflow); `evergreen train {model}` "
        "makes a new one"
    )


def lies_at(source: str, records: Records) -> str:
    """Where the files of a version lie, by the source with which it was registered, or one of them by its place.

    A source is signed and stays as it was; where a deployment was restored elsewhere, the logged model's place tells.
    """
    if source.startswith("models:/"):
        return records.location(source[len("models:/") :]) or source
    named = LOGGED.match(source)
    place = records.location(named["model"]) if named else None
    return f"{place}{named['rest']}" if named and place else source


class Client:
    """The records through MLflow's own client: whatever store it knows, at the price of its import."""

    def __init__(self, opened: "Callable[[], MlflowClient]") -> None:
        self._opened = opened

    def models(self) -> dict[str, dict[str, str]]:
        with _told():
            return {each.name: dict(each.tags) for each in _all(self._opened().search_registered_models)}

    def versions(self, model: str) -> list[Kept]:
        with _told():
            named = self._opened().search_model_versions
            found = [_kept(each) for each in _all(named, filter_string=f"name = '{model}'")]
        return sorted(found, key=lambda each: each.version, reverse=True)

    def version(self, model: str, number: int) -> Kept | None:
        return self._one(lambda client: client.get_model_version(model, str(number)))

    def aliased(self, model: str, alias: str) -> Kept | None:
        return self._one(lambda client: client.get_model_version_by_alias(model, alias))

    def every(self, alias: str) -> Callable[[str], Kept | None]:
        return lambda model: self.aliased(model, alias)

    def _one(self, ask: "Callable[[MlflowClient], Any]") -> Kept | None:
        with _told(None):
            return _kept(ask(self._opened()))
        return None

    def run(self, run_id: str) -> Run:
        with _told(no_run(run_id)):
            found = self._opened().get_run(run_id)
        said, data = found.info, found.data
        return Run(run_id, said.start_time, said.artifact_uri, data.tags, data.params, data.metrics)

    def location(self, model_id: str) -> str | None:
        with _told(None):
            return str(self._opened().get_logged_model(model_id).artifact_location)
        return None

    def logged(self, run_id: str, name: str) -> str | None:
        with _told(None):
            experiments = [self._opened().get_run(run_id).info.experiment_id]
            named = {"experiment_ids": experiments, "filter_string": f"name = '{name}'"}
            found = _all(self._opened().search_logged_models, **named)
            its = (each.artifact_location for each in found if each.source_run_id == run_id)
            return next(its, None)
        return None

    def set_alias(self, model: str, alias: str, version: int) -> None:
        with _told():
            self._opened().set_registered_model_alias(model, alias, str(version))

    def drop_alias(self, model: str, alias: str) -> None:
        with _told():
            self._opened().delete_registered_model_alias(model, alias)

    def tag(self, model: str, version: int, key: str, value: str) -> None:
        with _told():
            self._opened().set_model_version_tag(model, str(version), key, value)

    def tag_model(self, model: str, key: str, value: str) -> None:
        with _told():
            self._opened().set_registered_model_tag(model, key, value)

    def describe(self, model: str, version: int, text: str) -> None:
        with _told():
            self._opened().update_model_version(model, str(version), text)


def _kept(found: Any) -> Kept:
    return Kept(found.name, int(found.version), found.run_id or "", found.source, dict(found.tags))


def _all(search: Callable[..., Any], **asked: Any) -> Iterator[Any]:
    """Every page of a search."""
    page = search(**asked)
    yield from page
    while page.token:
        page = search(**asked, page_token=page.token)
        yield from page


@contextmanager
def _told(absent: EvergreenError | bool | None = False) -> Iterator[None]:
    """MLflow's errors as ours. What is not there is `absent`: raised, passed over if it is None, else as any other."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code not in ABSENT or absent is False:
            raise TransientError(f"MLflow: {error}") from error
        if isinstance(absent, EvergreenError):
            raise absent from None
