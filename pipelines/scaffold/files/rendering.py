"""The files of a model as text: templates filled with a design, every value quoted for the language it stands in."""

import json
import pprint
import re
import textwrap
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from pipelines.catalog import DatasetSpec, ModelSpec
from pipelines.catalog.formats import newest
from pipelines.scaffold.data.moments import in_sql, written
from pipelines.scaffold.data.sources import Source
from pipelines.scaffold.design import MADE, ROW, Column, Design
from pipelines.scaffold.files import suite, wording
from pipelines.scaffold.files.history import History, history

TEMPLATES = Path(__file__).parent / "templates"
TYPES = {"string": ("String", "STRING"), "integer": ("Int64", "INT64"), "float": ("Float64", "DOUBLE")}
FEW_SLICES = 20
MANY = 5000
CLOCKS = {
    "hour_of_day": "event.dt.hour + event.dt.minute / 60",
    "day_of_week": "event.dt.dayofweek",
    "day_of_year": "event.dt.dayofyear",
}
SPACE: dict[str, dict[str, Any]] = {
    "learning_rate": {"low": 0.01, "high": 0.2},
    "max_leaf_nodes": {"low": 7, "high": 63},
    "min_samples_leaf": {"low": 2, "high": 400},
    "l2_regularization": {"low": 0.1, "high": 50.0},
}


def rendered(design: Design, source: Source, owner: str) -> dict[str, str]:
    """Path within the project -> text, of every file but the sample."""
    name = design.name
    facts = _facts(design, source, owner)
    made = {
        f"pipelines/datasets/{name}.yaml": _filled("dataset.yaml", facts | {"format": newest(DatasetSpec)}),
        f"expectations/{name}.json": _json(suite.of_dataset(design)),
        f"pipelines/models/{name}/__init__.py": "",
        f"pipelines/models/{name}/spec.yaml": _filled("spec.yaml", facts | {"format": newest(ModelSpec)}),
        f"pipelines/models/{name}/label.sql": _filled("label.sql", facts),
        f"pipelines/models/{name}/estimator.py": _filled("estimator.py", facts),
        f"pipelines/models/{name}/CARD.md": _filled("CARD.md", facts),
        f"tests/models/{name}/__init__.py": "",
        f"tests/models/{name}/test_model.py": _filled("test_model.py", facts),
    }
    if design.clock:
        view = facts["view"]
        made[f"feature_repo/{view}.sql"] = _filled("view.sql", facts)
        made[f"feature_repo/{view}.py"] = _filled("view.py", facts)
        made[f"expectations/features/{view}.json"] = _json(suite.of_view(view, design.keys))
    return made


def _filled(template: str, facts: dict[str, Any]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(  # noqa: S701 - no HTML is made; each value is quoted for the language it stands in
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True
    )
    filters: dict[str, Any] = {"yaml": in_yaml, "python": _python, "lines": _lines}
    made.filters |= filters
    text = made.get_template(f"{template}.j2").render(**facts)
    text = re.sub(r"\n{4,}", "\n\n\n", text)
    return _wrapped(text) if template.endswith(".md") else text


def _wrapped(text: str) -> str:
    """Paragraphs as people break them."""
    paragraphs = (" ".join(part.split("\n")).strip() for part in text.split("\n\n"))
    return "\n\n".join(textwrap.fill(part, 115, break_long_words=False) for part in paragraphs) + "\n"


def in_yaml(value: Any) -> str:
    """A value as YAML on one line, whatever signs are in it."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6, sort_keys=False)
    return text.removesuffix("...\n").strip()


def _python(value: str) -> str:
    """A text as Python says it, in double quotes where that is the same."""
    text = repr(value)
    return f'"{text[1:-1]}"' if text[0] == "'" and '"' not in text and "\\'" not in text else text


def _lines(values: list[str]) -> str:
    return pprint.pformat(list(values), width=100, compact=True).replace("'", '"') if values else "[]"


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _facts(design: Design, source: Source, owner: str) -> dict[str, Any]:
    """Everything that a template names."""
    kept = history(design) if design.clock else None
    asked, sizes, classes = design.of("asked"), design.sizes, design.answer.task != "regression"
    examples = _examples(design, source)
    spread = _three(sizes.spread) or 1.0
    facts: dict[str, Any] = {
        "name": design.name, "owner": owner, "task": design.answer.task, "classification": classes,
        "many": bool(design.answer.classes), "classes": list(design.answer.classes), "class_rows": sizes.class_rows,
        "timed": design.clock is not None, "series": design.series, "keys": design.keys, "time": design.time,
        "row_key": list(design.row_key), "marks": _marks(design), "landed": _landed(design), "label": design.label.name,
        "label_sql": design.answer.sql(design.label.name), "asked": [c.name for c in asked],
        "view": f"{design.name}_history",
        "title": wording.question(design), "history_title": wording.history_title(design),
        "description": wording.description(design), "horizon": _horizon(design),
        "entities": _entities(design, examples), "request": _request(design, asked, examples),
        "loss": "log_loss" if classes else "rmse", "kind": "Classifier" if classes else "Regressor",
        "forecast": design.forecast, "linear": sizes.linear, "window": written(sizes.window),
        "holdout": written(sizes.holdout), "held": f"{sizes.held / (sizes.held + sizes.learned):.0%}",
        "minimum_rows": sizes.minimum_rows, "new_rows": min(500, max(1, sizes.learned // 50)),
        "gate_rows": sizes.gate_rows, "gate_hours": sizes.gate_hours, "bins": sizes.bins, "bin_error": sizes.bin_error,
        "mean_error": sizes.mean_error, "base": f"{max(sizes.shares, default=sizes.base):.1%}",
        "threshold": _threshold(sizes.base),
        "plain": f"{sizes.spoken:.3f}" if classes else f"{spread:g}",
        "ceiling": round(sizes.spoken * 1.05, 4), "decay": "log_loss" if classes else "mae",
        "margin": 0.01 if classes else _three(spread * 0.02), "wide": 0.05 if classes else _three(spread * 0.1),
        "believable": sizes.believable,
        "suspicious": "accuracy" if design.answer.classes else "roc_auc" if classes else "r2",
        "believable_why": _believable(design),
        "baseline": wording.baseline(design), "slices": _slices(design), "slice_rows": max(30, sizes.gate_rows // 2),
        "watch": written(sizes.holdout), "purpose": wording.purpose(design), "data": wording.data(design),
        "judged": wording.judged(design), "limits": wording.limits(design),
    }  # fmt: skip
    return facts | parameters(design) | _estimator(design, asked) | _view(design, kept)


def _believable(design: Design) -> str:
    if design.answer.classes:
        return "on so few rows an honest model can be right each time"
    numbers = design.answer.task == "regression"
    return "the last value alone comes near" if numbers else "one column alone comes near"


def _landed(design: Design) -> list[dict[str, Any]]:
    """The columns of the dataset, those that were added first."""
    made = []
    if ROW in design.added:
        made.append(
            {"name": ROW, "spec": {"type": "string", "description": "what tells the row from every other"}}
        )
    if MADE in design.added:
        said = "when the row came; made up for the rows that the model began with"
        made.append({"name": MADE, "spec": {"type": "timestamp", "timezone": "UTC", "description": said}})
    needed = {*design.row_key, *design.keys, design.time}
    return made + [{"name": c.name, "spec": _column(c, c.name in needed)} for c in design.columns]


def _column(column: Column, needed: bool) -> dict[str, Any]:
    spec: dict[str, Any] = {"type": column.kind}
    spec |= {} if needed else {"nullable": True}
    spec |= {"timezone": "UTC"} if column.kind == "timestamp" else {}
    spec |= {"header": column.facts.header} if column.renamed and column.facts.header else {}
    return spec | {"description": wording.column(column)}


def _marks(design: Design) -> list[str]:
    """What stands for no value in the files."""
    return sorted({"", *(mark for column in design.columns for mark in column.facts.marks)})


def _horizon(design: Design) -> str:
    return written(design.horizon) if design.clock else "0m"


def _examples(design: Design, source: Source) -> dict[str, Any]:
    """The newest labelled row, its gaps filled with usual values."""
    order = f"{design.clock.sql} desc" if design.clock else "rowid"
    row = (
        source.connection.execute(
            f"select * from typed where {design.answer.facts.place} is not null order by {order} limit 1"
        ).fetchone()
        or ()
    )
    found = {}
    for column, value in zip(design.columns, row, strict=True):
        usual = (
            column.facts.examples[0]
            if column.kind == "string" and column.facts.examples
            else column.facts.most
        )
        found[column.name] = _plain(usual if value is None else value, column)
    if design.clock:
        found[design.time] = f"{design.span[1]:%Y-%m-%dT%H:%M:%SZ}"
    return found


def _plain(value: Any, column: Column) -> Any:
    if column.kind == "timestamp":
        return f"{value:%Y-%m-%dT%H:%M:%SZ}" if hasattr(value, "year") else str(value)
    if column.kind == "float":
        return float(value) if value is not None else 0.0
    return int(value) if column.kind == "integer" else str(value)[:200]


def _entities(design: Design, examples: dict[str, Any]) -> list[dict[str, Any]]:
    if design.series:
        spec = {"type": "string", "description": "all rows are one series", "example": "all"}
        return [{"name": "series", "variable": f"{design.name}_series", "spec": spec, "dtype": "String",
                 "value_type": "STRING", "description": "all rows are one series"}]  # fmt: skip
    made = []
    for column in design.of("key"):
        dtype, kind = TYPES[column.kind]
        said = wording.column(column)
        spec = {"type": column.kind, "description": said, "example": examples[column.name]}
        made.append({"name": column.name, "variable": f"{design.name}_{column.name.lower()}", "spec": spec,
                     "dtype": dtype, "value_type": kind, "description": said})  # fmt: skip
    return made


def _request(design: Design, asked: list[Column], examples: dict[str, Any]) -> list[dict[str, Any]]:
    columns = [*design.of("time"), *asked]
    return [
        {
            "name": c.name,
            "spec": {"type": c.kind, "description": wording.column(c), "example": examples[c.name]},
        }
        for c in columns
    ]


def _slices(design: Design) -> list[str]:
    """The columns whose every value is held against the champion: keys, then words, where they are few."""
    words = [c for c in (*design.of("key"), *design.of("asked")) if c.kind in ("string", "integer")]
    return [c.name for c in words if c.facts.distinct <= FEW_SLICES][:2]


def _threshold(base: float) -> float:
    """Where yes is rare or usual, what is likelier than usual; else what is likelier than not."""
    return 0.5 if 0.2 <= base <= 0.8 else round(min(0.99, max(0.01, base)), 2)


def _three(value: float) -> float:
    return float(f"{value:.3g}")


def parameters(design: Design) -> dict[str, Any]:
    """What the estimator begins with, and the space in which a search looks for better."""
    learned, linear = design.sizes.learned, design.sizes.linear
    if linear:
        name = "alpha" if design.answer.task == "regression" else "C"
        return {"parameters": {name: 1.0}, "space": {name: {"low": 0.001, "high": 100.0, "log": True}}}
    rounds, rate = (100, 0.1) if design.answer.classes else (200, 0.05)  # a round is a tree for each class
    begin: dict[str, int | float] = {
        "max_iter": rounds, "learning_rate": rate, "max_leaf_nodes": 31 if learned > MANY else 15,
        "min_samples_leaf": min(100, max(5, learned // 150)), "l2_regularization": 1.0, "random_state": 0,
    }  # fmt: skip
    return {"parameters": begin, "space": {name: spread | {"log": True} for name, spread in SPACE.items()}}


def _estimator(design: Design, asked: list[Column]) -> dict[str, Any]:
    words = [c.name for c in (*design.of("key"), *asked) if c.kind == "string" or c.role == "key"]
    times = [*([design.time] if design.clock else []), *(c.name for c in asked if c.kind == "timestamp")]
    numbers = [c.name for c in asked if c.kind in ("float", "integer")]
    clock = _shown(design)
    own = [*(["*NUMBERS"] if numbers else []), *map(json.dumps, clock)]
    left = [
        *(["*WORDS"] if words else []),
        *(["*TIMES"] if times else []),
        *(['"series"'] if design.series else []),
    ]
    said = [
        *(["words as text"] if words else []),
        *(["what the clock shows"] if clock else []),
        "all else as numbers",
    ]
    return {
        "words": words, "numbers": numbers, "times": times, "clock": clock, "clocks": CLOCKS, "left_out": left,
        "own": "NUMBERS" if own == ["*NUMBERS"] else f"[{', '.join(own)}]", "encoders": _encoders(design, bool(words)),
        "inputs_said": ", ".join([*said[:-1], f"and {said[-1]}"]).capitalize() + "." if said[1:] else "All as numbers.",
    }  # fmt: skip


def _shown(design: Design) -> list[str]:
    """What of clock and calendar may matter, at the rows' usual step and over all their time."""
    if design.clock is None:
        return []
    step, days = design.clock.step.total_seconds(), (design.span[1] - design.span[0]).days
    fits = {"hour_of_day": step < 86_000, "day_of_week": step < 6 * 86_400, "day_of_year": days > 400}
    return [name for name, fit in fits.items() if fit] or ["day_of_year"]


def _encoders(design: Design, words: bool) -> list[str]:
    linear = design.sizes.linear
    used = {
        "OneHotEncoder": linear and words,
        "OrdinalEncoder": words and not (linear and design.forecast),
        "StandardScaler": linear,
    }
    return [name for name, needed in used.items() if needed]


def _ttl(look_back: timedelta) -> str:
    """Whole days, or less than one: Feast's own DuckDB store cannot join by days and a part of one (Feast 0.67)."""
    day = timedelta(days=1)
    return (
        f"days={-(-look_back // day)}"
        if look_back >= day
        else f"minutes={-(-look_back // timedelta(minutes=1))}"
    )


def _view(design: Design, kept: History | None) -> dict[str, Any]:
    if kept is None:
        return {"feature_names": []}
    view = f"{design.name}_history"
    levels = [f"{view}__{f.name}" for f in kept.features if f.level and not f.name.startswith("last_")]
    types = sorted(
        {"Float64", *(TYPES[c.kind][0] for c in design.of("key")), *(["String"] if design.series else [])}
    )
    return {
        "watched": [{"name": name, "sql": sql} for name, sql in kept.watched], "windows": kept.windows,
        "features": kept.features, "look_back": in_sql(kept.look_back), "ttl": _ttl(kept.look_back), "types": types,
        "feature_names": [f"{view}__{f.name}" for f in kept.features], "levels": levels,
        "last": f"{view}__last_{design.label.name}",
    }  # fmt: skip
