"""JSON Schema of the spec files: editors complete and check by it, and the pages are made of it."""

from datetime import timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from pipelines.catalog.types import UNITS, File


class Written(GenerateJsonSchema):
    """With defaults as people write them."""

    def encode_default(self, dft: Any) -> Any:
        return spoken(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def spoken(length: timedelta) -> str:
    """A duration as specs write it."""
    for letter, unit in reversed(UNITS.items()):
        if length and not length % timedelta(**{unit: 1}):
            return f"{length // timedelta(**{unit: 1})}{letter}"
    return "0m"


def schema(kind: type[File]) -> dict[str, Any]:
    """The JSON Schema of one kind of file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **kind.model_json_schema(schema_generator=Written),
    }


def for_editors(given: Any) -> Any:
    """The same, where what a number counts in stands in its description, which is all that an editor shows."""
    if isinstance(given, list):
        return [for_editors(each) for each in given]
    if not isinstance(given, dict):
        return given
    made = {
        key: for_editors(value)
        for key, value in given.items()
        if key not in ("unit", "title") or not isinstance(value, str)
    }
    unit = given.get("unit")
    if isinstance(unit, str):
        made["description"] = f"{given['description']} ({unit})" if "description" in given else unit
    return made
