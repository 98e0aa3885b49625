"""Finds and checks the specs: datasets/<name>.yaml and models/<name>/spec.yaml. Light to import."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

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
from pipelines.catalog.search_spec import Choices as Choices
from pipelines.catalog.search_spec import Range as Range
from pipelines.catalog.search_spec import Search as Search
from pipelines.catalog.types import Spec
from pipelines.contracts import EvergreenError

T = TypeVar("T", bound=Spec)


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
    text = path.read_text()
    try:
        return kind.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise EvergreenError(f"{path}: not valid YAML: {error}") from error
    except ValidationError as error:
        raise EvergreenError("\n".join(_explain(path, text, e) for e in error.errors())) from error


def _explain(path: Path, text: str, error: Mapping[str, Any]) -> str:
    where = ".".join(map(str, error["loc"])) or "the file"
    remedy = {"extra_forbidden": "remove it or mend its spelling", "missing": "add it"}.get(
        error["type"], "mend it"
    )
    return f"{path}:{_line_of(text, error['loc'])}: {where}: {error['msg']}; {remedy}"


@lru_cache(maxsize=8)
def datasets(folder: Path = HERE / "datasets") -> dict[str, DatasetSpec]:
    """All dataset specs by name."""
    specs = [read_spec(path, DatasetSpec) for path in sorted(folder.glob("*.yaml"))]
    return {spec.name: spec for spec in specs}


@lru_cache(maxsize=8)
def models(folder: Path = HERE / "models") -> dict[str, ModelSpec]:
    """All model specs by name; each model's datasets must exist."""
    specs = [read_spec(path, ModelSpec) for path in sorted(folder.glob("*/spec.yaml"))]
    for spec in specs:
        for name in (*spec.datasets, spec.label.dataset):
            if name not in datasets():
                raise EvergreenError(
                    f"{spec.folder}/spec.yaml: no dataset {name!r}; have {sorted(datasets())}"
                )
    return {spec.name: spec for spec in specs}


def dataset(name: str) -> DatasetSpec:
    return _pick(datasets(), name, "dataset")


def model(name: str) -> ModelSpec:
    return _pick(models(), name, "model")


def _pick(found: dict[str, T], name: str, kind: str) -> T:
    if name not in found:
        raise EvergreenError(f"no {kind} named {name!r}; there are: {', '.join(sorted(found)) or 'none'}")
    return found[name]
