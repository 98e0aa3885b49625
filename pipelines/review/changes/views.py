"""What a feature view is, read from the source of its Feast definition and its SQL without running either."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from pipelines.contracts import EvergreenError
from pipelines.stores.feature_store.views import READ, look_back

COMMENT = re.compile(r"^\s*--(?! look_back:).*$", re.MULTILINE)
NEVER = {"": "none", "0:00:00": "none"}
"""How a view says that its values never grow old."""
TIMES = ("timestamp_field", "created_timestamp_column", "field_mapping")


@dataclass(frozen=True)
class View:
    """One view. `features` are types by name; what cannot be read as a value is kept as it is written."""

    name: str
    sql: str
    owner: str = ""
    description: str = ""
    ttl: str = "none"
    keys: tuple[str, ...] = ()
    features: Mapping[str, str] = field(default_factory=dict)
    source: Mapping[str, str] = field(default_factory=dict)

    @property
    def computed(self) -> str:
        """The SQL without what changes no value: comments and white space."""
        return " ".join(COMMENT.sub("", self.sql).split())

    @property
    def values(self) -> tuple[Any, ...]:
        """Whatever its values depend on: a change of it makes a new version of the view."""
        return (self.computed, self.keys, self.features, self.ttl, self.source)

    @property
    def look_back(self) -> str:
        try:
            return str(look_back(self.name, self.sql))
        except EvergreenError:
            return "not declared"

    def reads(self, datasets: set[str]) -> set[str]:
        """The datasets that its SQL reads."""
        return set(READ.findall(self.sql)) & datasets


def views_of(modules: Mapping[str, str], sql: Mapping[str, str]) -> dict[str, View]:
    """The views that the modules of a feature repository define, by name; a module that is no Python defines none."""
    entities = dict(pair for text in modules.values() for pair in _entities(text))
    found = [view for text in modules.values() for view in _views(text, sql, entities)]
    return {view.name: view for view in sorted(found, key=lambda view: view.name)}


def _calls(text: str, called: str) -> Iterator[tuple[str, dict[str, ast.expr]]]:
    """The assigned name and the arguments of each `name = called(...)`."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and _name(node.value.func) == called
        ):
            target = node.targets[0]
            given = {k.arg: k.value for k in node.value.keywords if k.arg}
            yield target.id if isinstance(target, ast.Name) else "", given


def _entities(text: str) -> Iterator[tuple[str, str]]:
    """By which column each variable that holds an entity is looked up."""
    for variable, given in _calls(text, "Entity"):
        keys = given.get("join_keys")
        listed = keys.elts if isinstance(keys, ast.List | ast.Tuple) else []
        yield variable, ", ".join(_said(each) for each in listed) or _said(given.get("name"))


def _views(text: str, sql: Mapping[str, str], entities: Mapping[str, str]) -> Iterator[View]:
    for variable, given in _calls(text, "FeatureView"):
        name = _said(given.get("name")) or variable
        keys = [entities.get(each, each) for each in _each(given.get("entities"))]
        fields = [_arguments(each) for each in _elements(given.get("schema"))]
        typed = {_said(f.get("name")): _said(f.get("dtype")) for f in fields}
        yield View(
            name=name,
            sql=sql.get(name, ""),
            owner=_said(given.get("owner")),
            description=_said(given.get("description")),
            ttl=NEVER.get(ttl := _said(given.get("ttl")), ttl),
            keys=tuple(keys),
            features={n: kind for n, kind in typed.items() if n not in keys},
            source={k: _said(v) for k, v in _arguments(given.get("source")).items() if k in TIMES},
        )


def _elements(node: ast.expr | None) -> list[ast.expr]:
    return list(node.elts) if isinstance(node, ast.List | ast.Tuple) else []


def _each(node: ast.expr | None) -> list[str]:
    return [_said(each) for each in _elements(node)]


def _arguments(node: ast.expr | None) -> dict[str, ast.expr]:
    return {k.arg: k.value for k in node.keywords if k.arg} if isinstance(node, ast.Call) else {}


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _said(node: ast.expr | None) -> str:
    """A value where it is written as one, a length of time in one form; else the source."""
    if node is None or (isinstance(node, ast.Constant) and node.value is None):
        return ""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Call) and _name(node.func) == "timedelta" and not node.args:
        with_numbers = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
        if len(with_numbers) == len(node.keywords):
            try:
                return str(timedelta(**with_numbers))  # type: ignore[arg-type]
            except (TypeError, OverflowError):
                pass
    return ast.unparse(node)
