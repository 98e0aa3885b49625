"""Finds and checks the specs: datasets/<name>.yaml and models/<name>/spec.yaml. Light to import."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import ValidationError

from pipelines.catalog import formats
from pipelines.catalog.dataset_spec import COLUMN_NAME as COLUMN_NAME
from pipelines.catalog.dataset_spec import Column as Column
from pipelines.catalog.dataset_spec import DatasetSpec as DatasetSpec
from pipelines.catalog.gate_spec import Comparison as Comparison
from pipelines.catalog.gate_spec import Gate as Gate
from pipelines.catalog.model_spec import HERE as HERE
from pipelines.catalog.model_spec import Decay as Decay
from pipelines.catalog.model_spec import ModelSpec as ModelSpec
from pipelines.catalog.model_spec import Onnx as Onnx
from pipelines.catalog.model_spec import QuietHours as QuietHours
from pipelines.catalog.model_spec import RequestField as RequestField
from pipelines.catalog.resources_spec import Need as Need
from pipelines.catalog.resources_spec import Resources as Resources
from pipelines.catalog.rollout_spec import Limits as Limits
from pipelines.catalog.rollout_spec import Rollout as Rollout
from pipelines.catalog.rollout_spec import Step as Step
from pipelines.catalog.search_spec import Choices as Choices
from pipelines.catalog.search_spec import Range as Range
from pipelines.catalog.search_spec import Search as Search
from pipelines.contracts import EvergreenError

T = TypeVar("T", DatasetSpec, ModelSpec)
REFERENCE = "flight_delays"
"""The model that commands take where none is named, and that proofs which need real rows of some kind are made of."""
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where it is there: a sixth of the time, which counts from a hundred models on."""


def parsed(text: str) -> Any:
    """A spec's text as plain values; yaml.YAMLError if it is no YAML."""
    return yaml.load(text, LOADER)  # noqa: S506 - the safe loader, in C


def _line_of(text: str, location: tuple[Any, ...]) -> int:
    """The line of the deepest part of a YAML path that exists; 1 if none does."""
    node, line = yaml.compose(text), 1
    for part in location:
        if not isinstance(node, yaml.MappingNode):
            break
        found = [(k, v) for k, v in node.value if k.value == str(part)]
        if not found:
            break
        line, node = found[0][0].start_mark.line + 1, found[0][1]
    return line


def read_spec(path: Path, kind: type[T]) -> T:
    """The typed spec in a YAML file. Errors name file, line, what is wrong and the remedy."""
    text = _text(path)
    try:
        given = parsed(text)
        _of_today(path, text, given, kind)
        return kind.model_validate(given)
    except yaml.YAMLError as error:
        raise EvergreenError(f"{path}: not valid YAML: {error}") from error
    except ValidationError as error:
        raise EvergreenError(explained(path, text, error)) from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise EvergreenError(f"{path}:1: it is not UTF-8 (byte {error.start}); save it as UTF-8") from None


def _of_today(path: Path, text: str, given: Any, kind: type[T]) -> None:
    """EvergreenError if a file says something that only another form of specs means so."""
    name = path.parent.name if path.name == "spec.yaml" else path.stem
    refused = formats.refusal(given, kind, name)
    if refused is not None:
        raise EvergreenError(f"{path}:{_line_of(text, ('format',))}: {refused}")


def explained(path: Path, text: str, error: ValidationError) -> str:
    """Everything that is wrong with a file: each with line, what is wrong and the remedy."""
    return "\n".join(_explain(path, text, each) for each in error.errors())


def _explain(path: Path, text: str, error: Mapping[str, Any]) -> str:
    where = ".".join(map(str, error["loc"])) or "the file"
    remedy = {"extra_forbidden": "remove it or mend its spelling", "missing": "add it"}.get(
        error["type"], "mend it"
    )
    return f"{path}:{_line_of(text, error['loc'])}: {where}: {error['msg']}; {remedy}"


@dataclass(frozen=True)
class Found(Generic[T]):
    """The specs of a folder that are sound, by name, and what is wrong with the others, by the name of their file."""

    sound: dict[str, T]
    faults: dict[str, str]


def datasets() -> dict[str, DatasetSpec]:
    """All sound dataset specs by name; `faults` tells of the others."""
    return _datasets(HERE / "datasets").sound


def models() -> dict[str, ModelSpec]:
    """All sound model specs by name; `faults` tells of the others, which stop nobody but themselves."""
    return _models(HERE / "models").sound


def faults() -> dict[str, str]:
    """What is wrong with each spec that is not sound, by the name of its file or folder."""
    return _datasets(HERE / "datasets").faults | _models(HERE / "models").faults


def dataset(name: str) -> DatasetSpec:
    return _pick(_datasets(HERE / "datasets"), name, "dataset")


def model(name: str) -> ModelSpec:
    return _pick(_models(HERE / "models"), name, "model")


def models_with(view: str) -> tuple[str, ...]:
    """The models that ask for a feature view, by name."""
    return tuple(name for name, spec in models().items() if view in spec.features_by_view)


def models_on(dataset: str) -> tuple[str, ...]:
    """The models whose training waits for a dataset, by name."""
    return tuple(n for n, spec in models().items() if dataset in {*spec.datasets, spec.label.dataset})


def place(spec: ModelSpec, *key: str) -> str:
    """Where a model's spec says something: its file, and the line of the key, or of what it would stand under."""
    file = spec.folder / "spec.yaml"
    return f"{file}:{_line_of(file.read_text(), key)}"


def event_time(spec: ModelSpec) -> str:
    """The name under which a model's questions say when their event is."""
    return spec.label.event_time or dataset(spec.label.dataset).event_time


@lru_cache(maxsize=8)
def _datasets(folder: Path) -> Found[DatasetSpec]:
    return _found(((path.stem, path) for path in sorted(folder.glob("*.yaml"))), DatasetSpec)


@lru_cache(maxsize=8)
def _models(folder: Path) -> Found[ModelSpec]:
    """A model's datasets must be there and sound."""
    found = _found(((path.parent.name, path) for path in sorted(folder.glob("*/spec.yaml"))), ModelSpec)
    wrong = {name: lacking for name, spec in found.sound.items() if (lacking := _lacking(spec))}
    return Found({n: s for n, s in found.sound.items() if n not in wrong}, found.faults | wrong)


def _found(paths: Iterable[tuple[str, Path]], kind: type[T]) -> Found[T]:
    """Each file's spec under its own name, which is the file's: so no two can have one name."""
    sound, faults = dict[str, T](), dict[str, str]()
    for name, path in paths:
        try:
            sound[name] = _named(read_spec(path, kind), name, path)
        except EvergreenError as error:
            faults[name] = str(error)
        except OSError as error:
            faults[name] = f"{path}: cannot be read: {error.strerror}; mend its rights"
    return Found(sound, faults)


def _named(spec: T, name: str, path: Path) -> T:
    if spec.name != name:
        line = _line_of(path.read_text(), ("name",))
        raise EvergreenError(
            f"{path}:{line}: it says name: {spec.name} where its place says {name}; let both say the same"
        )
    return spec


def _lacking(spec: ModelSpec) -> str | None:
    """What keeps a sound spec from being used: a dataset that is not there, or not sound itself."""
    known = _datasets(HERE / "datasets")
    for name in dict.fromkeys((*spec.datasets, spec.label.dataset)):
        if name not in known.sound:
            line = _line_of((spec.folder / "spec.yaml").read_text(), ("datasets",))
            why = f"its dataset {name} is not sound" if name in known.faults else f"no dataset {name!r}"
            rest = known.faults.get(name) or f"have {sorted(known.sound)}"
            return f"{spec.folder}/spec.yaml:{line}: {why}; {rest}"
    return None


def _pick(found: Found[T], name: str, kind: str) -> T:
    if name in found.sound:
        return found.sound[name]
    if name in found.faults:
        raise EvergreenError(found.faults[name])
    known = ", ".join(sorted(found.sound)) or "none"
    raise EvergreenError(f"no {kind} named {name!r}; there are: {known}")
