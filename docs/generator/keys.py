"""What can be said of each key of a spec: read from the types alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from inspect import getdoc
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipelines.settings import PROJECT

WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "null": "null",
}
SHIPPED = {
    "spec": ["models/flight_delays/spec.yaml"],
    "dataset": [
        f"datasets/{name}.yaml" for name in ("flights", "departures", "weather", "planes", "airports")
    ],
}
BOUNDS = {
    "exclusiveMinimum": "above", "minimum": "at least", "exclusiveMaximum": "below", "maximum": "at most",
}  # fmt: skip


@dataclass(frozen=True)
class Section:
    """One mapping of a spec: its type, and where in the file it stands."""

    kind: type[BaseModel]
    places: tuple[str, ...]


def sections(kind: type[BaseModel]) -> list[Section]:
    """The whole file and every mapping in it, in the order of the file."""
    found: dict[type[BaseModel], list[str]] = {}
    _collect(kind, "", found)
    return [Section(each, tuple(dict.fromkeys(places))) for each, places in found.items()]


def _collect(kind: type[BaseModel], place: str, found: dict[type[BaseModel], list[str]]) -> None:
    found.setdefault(kind, []).append(place)
    for name, field in kind.model_fields.items():
        for inner, suffix in nested(field.annotation):
            _collect(inner, f"{place}.{field.alias or name}{suffix}".lstrip("."), found)


def nested(annotation: Any) -> Iterator[tuple[type[BaseModel], str]]:
    """The mappings of our own in a type, and how YAML reaches them: directly, per name, or per item."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, ""
        return
    origin = getattr(annotation, "__origin__", None)
    suffix = ".NAME" if origin is dict else "[]" if origin is tuple else ""
    for part in get_args(annotation):
        for inner, rest in nested(part):
            yield inner, suffix + rest


def said(given: dict[str, Any]) -> str:
    """A JSON Schema in words: the type, its bounds, and what it counts in."""
    if "$ref" in given:
        name = given["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in given:
        kinds = dict.fromkeys(said({**each, **_unit(given)}) for each in given["anyOf"])
        return ", ".join(kind for kind in kinds if kind != "whole number" or "number" not in kinds)
    if "enum" in given:
        return ", ".join(f"`{each}`" for each in given["enum"])
    if given.get("type") == "array":
        return f"list of {said(given['items'])}{_at_least(given, 'minItems')}"
    if given.get("type") == "object":
        return f"{said(given['additionalProperties'])} per name{_at_least(given, 'minProperties')}"
    if "pattern" in given and "unit" in given:
        return str(given["unit"])
    words = [f"{WORDS[given['type']]}"] + [
        f"{word} {given[key]}" for key, word in BOUNDS.items() if key in given
    ]
    words += [f"matching `{given['pattern']}`"] if "pattern" in given else []
    return " ".join(words) + (f"; {given['unit']}" if "unit" in given and given["type"] != "null" else "")


def _unit(given: dict[str, Any]) -> dict[str, Any]:
    return {"unit": given["unit"]} if "unit" in given else {}


def _at_least(given: dict[str, Any], bound: str) -> str:
    return f", {given[bound]} or more" if bound in given else ""


def default(field: FieldInfo, given: dict[str, Any]) -> str:
    """What holds where the key is left out."""
    if field.is_required():
        return "required"
    value = given.get("default", field.get_default(call_default_factory=True))
    if isinstance(value, BaseModel):
        return "its defaults"
    return "none" if value is None else f"`{flow(value)}`"


def flow(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(
        _plain(value), default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def rules(kind: type[BaseModel]) -> dict[str, str]:
    """What a mapping as a whole must hold, or it is refused: what each check says of itself, by its name."""
    found = kind.__pydantic_decorators__
    checks = found.field_validators | found.model_validators
    return {name: _said(each) for name, each in checks.items() if each.info.mode != "before"}


def notes(kind: type[BaseModel]) -> list[str]:
    """What is taken for granted before anything is checked."""
    found = kind.__pydantic_decorators__.model_validators.values()
    return [_said(each) for each in found if each.info.mode == "before"]


def _said(check: Any) -> str:
    return " ".join((getdoc(check.func) or "").split())


def examples(kind: type[BaseModel], files: list[Path]) -> dict[tuple[str, str], tuple[Any, Path]]:
    """Per mapping and key the first value that a shipped file has for it, and which file."""
    found: dict[tuple[str, str], tuple[Any, Path]] = {}
    for path in files:
        _values(kind, yaml.safe_load(path.read_text()), path, found)
    return found


def _values(
    kind: type[BaseModel], given: Any, path: Path, found: dict[tuple[str, str], tuple[Any, Path]]
) -> None:
    for name, field in kind.model_fields.items():
        key = field.alias or name
        if not isinstance(given, dict) or key not in given:
            continue
        found.setdefault((kind.__name__, key), (given[key], path))
        for inner, suffix in nested(field.annotation):
            for each in _inside(given[key], suffix):
                if isinstance(each, dict) and set(each) <= {
                    f.alias or n for n, f in inner.model_fields.items()
                }:
                    _values(inner, each, path, found)


def _inside(value: Any, suffix: str) -> list[Any]:
    if suffix == ".NAME":
        return list(value.values())
    return list(value) if suffix == "[]" else [value]


def shipped(kind: str) -> list[Path]:
    """The files that examples are taken from: the project's own, so that no model that is added changes the pages."""
    return [PROJECT / "pipelines" / name for name in SHIPPED[kind]]
