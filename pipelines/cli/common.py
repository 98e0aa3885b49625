"""What every command shares: how errors end, and how JSON is asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from pipelines.contracts import EvergreenError, NothingToDo

MENDED, GATE, REFUSED, NOTHING = 1, 3, 4, 5

AsJson = Annotated[bool, typer.Option("--json", help="print JSON for machines")]
console = Console()
errors = Console(stderr=True)


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
