"""What every command shares: how errors end, and how JSON is asked for."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from pipelines.contracts import EvergreenError, NothingToDo, as_json

if TYPE_CHECKING:
    from pipelines.settings import Settings

MENDED, GATE, REFUSED, NOTHING = 1, 3, 4, 5

AsJson = Annotated[bool, typer.Option("--json", help="print JSON for machines")]
console = Console()
errors = Console(stderr=True)


def settings() -> "Settings":
    """The settings of this process, read when they are first needed: `--help` needs none."""
    from pipelines.settings import settings as read

    return read()


def progress(text: str) -> None:
    """How far long work has come, on stderr."""
    errors.print(text, style="dim", markup=False)


def show(value: Any, as_json_text: bool, table: Callable[[Any], Any]) -> None:
    """Print a stage's answer: plain JSON, or what `table` makes of it."""
    if as_json_text:
        sys.stdout.write(json.dumps(as_json(value), indent=2) + "\n")
    else:
        console.print(table(as_json(value)))


@contextmanager
def explained() -> Iterator[None]:
    """A mistake a person can mend ends in one sentence on stderr, not in a traceback."""
    try:
        yield
    except NothingToDo as nothing:
        errors.print(f"Nothing to do: {nothing}", markup=False)
        raise typer.Exit(NOTHING) from None
    except EvergreenError as error:
        errors.print(f"Error: {error}", style="red", markup=False)
        raise typer.Exit(MENDED) from None
