"""Pictures that a proof leaves."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.places import whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def saved(figure: "Figure", path: Path) -> Path:
    """Writes a figure over time as a PNG, whole or not at all."""
    figure.autofmt_xdate()
    out = BytesIO()
    figure.savefig(out, format="png", dpi=110)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        part.write_bytes(out.getvalue())
    return path
