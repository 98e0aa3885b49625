"""Which answers say that they lack what their model needs."""

from collections.abc import Iterable, Mapping, Set
from typing import Any

from pydantic import Field

from pipelines.catalog.types import Share, Spec


class Degraded(Spec):
    """When an answer says that it lacks features; one without any says so in any case."""

    missing: Share = Field(
        1.0, gt=0, le=1, description="an answer that lacks so many of its features says that it is degraded"
    )
    required: tuple[str, ...] = Field(
        (),
        description="view:feature that must have a value, or view:* of which one must; an answer without is degraded",
        examples=[["origin_weather:*"]],
    )

    def unasked(self, features: Iterable[str]) -> list[str]:
        """Which of `required` the model does not ask for by its `features`."""
        asked = {*features}
        views = {name.partition(":")[0] for name in asked}
        return [name for name in self.required if not _asked(name, asked, views)]

    def lacking(self, values: Mapping[str, Any]) -> list[str]:
        """Which of `required` have no value among features (view__feature) of which a missing one is None."""
        return [name for name in self.required if not _has_one(name, values)]


def _asked(name: str, asked: Set[str], views: Set[str]) -> bool:
    view, _, feature = name.partition(":")
    return view in views if feature == "*" else bool(feature and asked & {name, f"{view}:*"})


def _has_one(name: str, values: Mapping[str, Any]) -> bool:
    """Whether one of these features has a value, or none is among them, as an older version may not take it."""
    view, _, feature = name.partition(":")
    its = [
        value
        for each, value in values.items()
        if each == f"{view}__{feature}" or (feature == "*" and each.startswith(f"{view}__"))
    ]
    return not its or any(value is not None for value in its)
