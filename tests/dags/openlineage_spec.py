"""OpenLineage's specification as JSON Schema, from the classes that its makers generate of it for their client."""

import inspect
import types
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit
from uuid import UUID

import attr
import jsonschema

PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}
FACETS = {"facets", "inputFacets", "outputFacets"}


def check(event: dict[str, Any]) -> None:
    """Raises unless the event is one of the specification, and each standard facet in it too."""
    from openlineage.client.event_v2 import RunEvent

    jsonschema.validate(event, schema(RunEvent))
    assert event["schemaURL"] == RunEvent._get_schema()
    UUID(event["run"]["runId"])
    assert datetime.fromisoformat(event["eventTime"]).tzinfo is not None
    assert urlsplit(event["producer"]).scheme
    for holder in (event["run"], event["job"], *event["inputs"], *event["outputs"]):
        for kind in FACETS & holder.keys():
            for facet in holder[kind].values():
                _check_facet(facet)


def _check_facet(facet: dict[str, Any]) -> None:
    assert urlsplit(facet["_producer"]).scheme
    assert urlsplit(facet["_schemaURL"]).scheme
    known = facets().get(facet["_schemaURL"])
    if known is not None:
        jsonschema.validate(facet, schema(known))


@cache
def facets() -> dict[str, type]:
    """Every facet of the specification by its address."""
    from openlineage.client import facet_v2

    modules = [m for m in vars(facet_v2).values() if inspect.ismodule(m)]
    classes = [
        c for m in modules for c in vars(m).values() if inspect.isclass(c) and c.__module__ == m.__name__
    ]
    found = {c._get_schema(): c for c in classes if c.__name__.endswith("Facet")}
    assert len(found) > 25
    return found


@cache
def schema(kind: Any) -> dict[str, Any]:
    """The JSON Schema of a class: nothing but its fields, those without a default required."""
    hints = get_type_hints(kind)
    fields = [each for each in attr.fields(kind) if each.name in hints]
    named = {each: each.name for each in fields}
    return {
        "type": "object",
        "properties": {named[f]: _facets_apart(f.name, hints[f.name]) for f in fields},
        "required": [named[f] for f in fields if f.default is attr.NOTHING],
        "additionalProperties": False,
    }


def _facets_apart(name: str, hint: Any) -> dict[str, Any]:
    return {"type": "object"} if name in FACETS else _of(hint)


def _of(hint: Any) -> dict[str, Any]:
    origin, inside = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of(each) for each in inside]}
    if origin is list:
        return {"type": "array", "items": _of(inside[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of(inside[1])}
    if hint in PLAIN:
        return {"type": PLAIN[hint]}
    if hint is type(None):
        return {"type": "null"}
    if inspect.isclass(hint) and issubclass(hint, Enum):
        return {"enum": [each.value for each in hint]}
    return _class(hint) if attr.has(hint) else {}


def _class(kind: Any) -> dict[str, Any]:
    """A class inside another; of one that holds itself, such as nested columns, only that it is an object."""
    holds_itself = any(kind.__name__ in str(each) for each in kind.__annotations__.values())
    return {"type": "object"} if holds_itself else schema(kind)
