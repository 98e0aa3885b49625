"""The parameters of a spec.yaml, written anew without touching anything else in it."""

import json
import re
from collections.abc import Mapping
from difflib import unified_diff
from pathlib import Path

from pipelines.catalog.search_spec import Value
from pipelines.contracts import EvergreenError

BLOCK = re.compile(r"^parameters:[ \t]*(#.*)?\n((?:[ \t]+.*\n|[ \t]*\n)*)", re.MULTILINE)


def lines(parameters: Mapping[str, Value]) -> str:
    """What to put below `parameters:`."""
    return "".join(f"  {name}: {_yaml(value)}\n" for name, value in parameters.items())


def rewritten(path: Path, parameters: Mapping[str, Value]) -> str:
    """The file's text with these values for parameters it has; comments and order stay."""
    text = path.read_text()
    block = BLOCK.search(text)
    if block is None:
        raise EvergreenError(f"{path} has no `parameters:` with a line for each; write them there by hand")
    inner = block[2]
    for name, value in parameters.items():
        line = re.compile(rf"^(\s+{re.escape(name)}:[ \t]*)[^#\s][^#\n]*?([ \t]*(?:#.*)?)$", re.MULTILINE)
        if len(line.findall(inner)) != 1:
            raise EvergreenError(
                f"{path}: parameters has no line of its own for {name}; write it there by hand"
            )
        inner = line.sub(lambda found, value=value: f"{found[1]}{_yaml(value)}{found[2]}", inner)
    return text[: block.start(2)] + inner + text[block.end(2) :]


def difference(path: Path, text: str) -> str:
    """What writing this text would change."""
    before = path.read_text().splitlines(keepends=True)
    return "".join(unified_diff(before, text.splitlines(keepends=True), path.name, path.name, n=1))


def _yaml(value: Value) -> str:
    """As YAML reads it back: JSON is YAML, but for 1e-05, which YAML takes for a word."""
    text = json.dumps(value)
    return re.sub(r"^(-?\d+)e", r"\1.0e", text) if isinstance(value, float) else text
