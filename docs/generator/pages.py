"""Every file of the reference, with the text that it should have."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from docs.generator import commands
from docs.generator.keys import Section, default, examples, flow, notes, rules, said, sections, shipped
from docs.generator.schemas import for_editors, schema
from pipelines.catalog import DatasetSpec, ModelSpec
from pipelines.settings import PROJECT, Settings

REFERENCE = PROJECT / "docs" / "reference"
MADE = "<!-- Made by `make docs` from {source}; change it there. -->\n\n"
LONGEST = 70
"""An example that is longer is left out of a table; the shipped file has it."""
HEAD = "| key | type | default | what it means | example |\n| --- | --- | --- | --- | --- |\n"
SPEC = """# `spec.yaml`

What is decided about one model, in `pipelines/models/NAME/spec.yaml`. Beside it lie `label.sql`, `estimator.py` and
`CARD.md`; see [bring your own model](../how-to/bring-your-own-model.md). What horizon and as-of mean is drawn
[here](../explanation/time.md). An unknown key, a missing one and a value that is not as below are refused with file,
line and remedy, as `evergreen check NAME` shows. `spec.schema.json` beside this page lets editors complete and
check it. The examples are those of the shipped models.

"""
DATASET = """# `pipelines/datasets/NAME.yaml`

One kind of file that lands. Its Great Expectations suite is `expectations/NAME.json`; which form each type may have in
a file tells [deal with refused files](../how-to/deal-with-refused-files.md). What `event_time` and `available_at` mean
is drawn [here](../explanation/time.md). An unknown key, a missing one and a value that is not as below are refused with
file, line and remedy. `dataset.schema.json` beside this page lets editors complete and check it. The examples are those
of the shipped datasets.

"""
SETTINGS = """# Settings

What one deployment sets, as a variable of the environment or a line of `.env` in the project's folder; the environment
wins. `evergreen doctor` names each that cannot be used. A secret's value is never shown. The defaults are the embedded
profile: everything on local disk.

"""


def outdated() -> dict[Path, str]:
    """The files that are not as they should be, with the text they should have."""
    return {path: text for path, text in files().items() if not path.exists() or path.read_text() != text}


def files() -> dict[Path, str]:
    """Every file that is made."""
    return {
        REFERENCE / "spec-yaml.md": of_specs(ModelSpec, "spec", SPEC),
        REFERENCE / "dataset-yaml.md": of_specs(DatasetSpec, "dataset", DATASET),
        REFERENCE / "settings.md": of_settings(),
        REFERENCE / "cli.md": MADE.format(source="pipelines/cli/") + commands.page(),
        REFERENCE / "spec.schema.json": _json(for_editors(schema(ModelSpec))),
        REFERENCE / "dataset.schema.json": _json(for_editors(schema(DatasetSpec))),
        PROJECT / ".env.example": _environment((PROJECT / ".env.example").read_text()),
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def of_specs(kind: type[ModelSpec] | type[DatasetSpec], name: str, intro: str) -> str:
    """One kind of file: a section for each mapping in it."""
    whole, found = schema(kind), examples(kind, shipped(name))
    properties = {kind: whole["properties"]}
    defined = {
        title: each["properties"] for title, each in whole.get("$defs", {}).items() if "properties" in each
    }
    parts = [
        _section(section, properties.get(section.kind) or defined[section.kind.__name__], found)
        for section in sections(kind)
    ]
    return MADE.format(source="pipelines/catalog/") + intro + "\n".join(parts)


def _section(
    section: Section, properties: dict[str, Any], found: dict[tuple[str, str], tuple[Any, Path]]
) -> str:
    kind, top = section.kind, section.places == ("",)
    about = " ".join((kind.__doc__ or "").split())
    places = " or ".join(f"`{place}`" for place in section.places)
    head = "## Keys\n" if top else f"## {kind.__name__}\n\nAt {places}. {about}\n"
    rows = "".join(_row(name, section.kind, properties, found) for name in kind.model_fields)
    refused = "".join(f"- {rule}\n" for rule in rules(kind).values())
    said_too = "".join(f"\n{note}\n" for note in notes(kind))
    return f"{head}\n{HEAD}{rows}{said_too}" + (f"\nRefused unless:\n\n{refused}" if refused else "")


def _row(
    name: str,
    kind: type[BaseModel],
    properties: dict[str, Any],
    found: dict[tuple[str, str], tuple[Any, Path]],
) -> str:
    field = kind.model_fields[name]
    key = field.alias or name
    given = properties[key]
    shown = example(kind, key, found)
    cells = [
        f"`{key}`",
        said(given),
        default(field, given),
        given["description"],
        f"`{shown}`" if shown else "",
    ]
    return f"| {' | '.join(_cell(each) for each in cells)} |\n"


def example(kind: type[BaseModel], key: str, found: dict[tuple[str, str], tuple[Any, Path]]) -> str:
    """A value on one line: of a shipped file, or what the type gives as one; empty where neither is short."""
    name = next(n for n, field in kind.model_fields.items() if key == (field.alias or n))
    values = (
        [found[kind.__name__, key][0]]
        if (kind.__name__, key) in found
        else kind.model_fields[name].examples or []
    )
    return next((text for text in map(flow, values) if len(text) <= LONGEST), "")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def of_settings() -> str:
    """Each setting with its variable."""
    rows = "".join(_setting(name) for name in Settings.model_fields)
    refused = "".join(f"- {rule}\n" for rule in rules(Settings).values())
    table = f"| variable | type | default | what it means |\n| --- | --- | --- | --- |\n{rows}"
    return f"{MADE.format(source='pipelines/settings.py')}{SETTINGS}{table}\nRefused unless:\n\n{refused}"


def _setting(name: str) -> str:
    given = Settings.model_json_schema()["properties"][name]
    kinds = given.get("anyOf", [given])
    secret = any(each.get("writeOnly") for each in kinds)
    plain = [{k: v for k, v in each.items() if k != "format"} for each in kinds if each["type"] != "null"]
    value = Settings.model_fields[name].default
    shown = (
        "none" if value is None else f"`{value.relative_to(PROJECT) if isinstance(value, Path) else value}`"
    )
    cells = [
        f"`EVERGREEN_{name.upper()}`",
        said(plain[0]) + ("; a secret" if secret else ""),
        shown,
        given["description"],
    ]
    return f"| {' | '.join(_cell(each) for each in cells)} |\n"


def _environment(text: str) -> str:
    """The example of a .env with a line for each setting."""
    lines = "".join(
        f"# EVERGREEN_{name.upper()}=   {field.description}\n"
        for name, field in Settings.model_fields.items()
    )
    return re.sub(r"(?m)(?:^# EVERGREEN_.*\n?)+", lambda _: lines, text)


def unsaid() -> Iterator[str]:
    """Every key that nobody described, and every check that does not say what it refuses."""
    for kind in (ModelSpec, DatasetSpec):
        for section in sections(kind):
            yield from (
                f"{section.kind.__name__}.{n}"
                for n, f in section.kind.model_fields.items()
                if not f.description
            )
            yield from (
                f"{section.kind.__name__}.{n}()" for n, rule in rules(section.kind).items() if not rule
            )
