"""What was felt of each fault, as a table that people read."""

from collections import Counter
from collections.abc import Sequence

from rich.table import Table

from tests.production.faults import Felt

NEVER = "not within the time"


def table(felt: Sequence[Felt]) -> Table:
    """A row for each fault, in the order in which they happened."""
    made = Table(title="Faults under load", title_justify="left")
    texts = {"fault", "ended with it", "withheld"}
    texts = {"fault", "ended with it", "withheld"}
    for name in (
        "fault",
        "ended with it",
        "tasks end again, s",
        "files in, s",
        "answers again, s",
        "withheld",
    ):
        made.add_column(name, justify="left" if name in texts else "right")
    for each in felt:
        times = [NEVER if t is None else f"{t:.1f}" for t in (each.tasks, each.files, each.answers)]
        made.add_row(each.fault, ", ".join(each.stopped) or "nothing", *times, _withheld(each))
    return made


def _withheld(felt: Felt) -> str:
    said = ", ".join(f"{count} {why}" for why, count in Counter(felt.withheld).most_common())
    return f"{len(felt.withheld)} of {felt.asked}" + (f" ({said})" if said else "")
