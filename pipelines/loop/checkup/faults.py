"""What a check says of a model."""

from dataclasses import dataclass

from pipelines.settings import PROJECT


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong; `breaks`: the model cannot be trained or served as it is. Else somebody should look."""

    where: str
    what: str
    remedy: str
    breaks: bool = True


def told(text: str) -> Fault:
    """An error's own words, `file:line: what; remedy`, as a fault."""
    where, _, rest = text.partition(": ")
    what, _, remedy = rest.rpartition("; ")
    return Fault(here(where), what or rest, remedy if what else "mend it")


def here(where: str) -> str:
    """A place in this checkout, as one writes it there."""
    return where.removeprefix(f"{PROJECT}/")
