"""Whose a figure is: a model's own steps are its own, and what models share is theirs in equal parts.

The ingestion of a dataset is shared by the models whose spec names the dataset. A computation of the features is first
parted among the views by the seconds each took, and each view among the models whose spec names it. What serving takes
while it answers nobody is shared by the models that it serves. What no model asks for is nobody's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from pipelines import catalog
from pipelines.stores.watching.costs import DATASET, MODEL, SERVING, Figure

NOBODY = "(nobody)"
RULE = (
    "What models share is divided equally: a dataset's ingestion among the models whose spec names it, and of the"
    " features each view, by the seconds it took, among the models whose spec names the view; and what serving took"
    " while it answered nobody, among the models that it serves."
)
Shares = Mapping[str, Fraction]
"""Of each model its part; together they are one."""


@dataclass(frozen=True)
class Users:
    """The models whose specs name each dataset and each view."""

    datasets: Mapping[str, tuple[str, ...]]
    views: Mapping[str, tuple[str, ...]]


def users() -> Users:
    """As the catalog has it now."""
    views = {view for spec in catalog.models().values() for view in spec.features_by_view}
    return Users(
        {name: catalog.models_on(name) for name in catalog.datasets()},
        {view: catalog.models_with(view) for view in sorted(views)},
    )


def shares(figure: Figure, known: Users) -> dict[str, Fraction]:
    """Each model's part of a figure."""
    if figure.kind == MODEL:
        return {figure.subject: Fraction(1)}
    if figure.kind == DATASET:
        return _equal(known.datasets.get(figure.subject, ()))
    if figure.kind == SERVING:
        return _equal(sorted(figure.parts))
    found: dict[str, Fraction] = {}
    for view, weight in weights(figure, known).items():
        for model, part in _equal(known.views.get(view, ())).items():
            found[model] = found.get(model, Fraction(0)) + weight * part
    return found or {NOBODY: Fraction(1)}


def weights(figure: Figure, known: Users) -> dict[str, Fraction]:
    """Each view's part of a computation of the features; equal where none is known to have taken any time."""
    seconds = {name: Fraction(value) for name, value in figure.parts.items() if value > 0}
    seconds = seconds or dict.fromkeys(figure.parts or known.views, Fraction(1))
    whole, found = sum(seconds.values()), dict[str, Fraction]()
    for name, value in seconds.items():
        view = name.partition("@")[0]  # an older version of a view has its number behind it
        found[view] = found.get(view, Fraction(0)) + value / whole
    return found


def alone(figure: Figure, model: str, known: Users) -> Fraction:
    """The part of a figure that would not have been without the model: its own steps, and what it shares with none."""
    if figure.kind == MODEL:
        return Fraction(figure.subject == model)
    if figure.kind == DATASET:
        return Fraction(known.datasets.get(figure.subject, ()) == (model,))
    if figure.kind == SERVING:
        return Fraction(set(figure.parts) == {model})
    parts = weights(figure, known).items()
    return sum((part for view, part in parts if known.views.get(view, ()) == (model,)), Fraction(0))


def _equal(models: Iterable[str]) -> dict[str, Fraction]:
    names = tuple(models)
    return {name: Fraction(1, len(names)) for name in names} or {NOBODY: Fraction(1)}
