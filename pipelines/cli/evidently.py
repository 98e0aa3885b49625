"""`evergreen evidently`: Evidently's own UI over what the monitor found."""

from typing import Annotated

import typer

from pipelines.cli.output import explained, progress, settings


def evidently(
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="where it listens, EVERGREEN_EVIDENTLY_PORT if left out"),
    ] = None,
) -> None:
    """Show the monitor's runs in Evidently's own UI, a project per model, on this machine alone until it is stopped."""
    with explained():
        from pipelines.monitoring.evidently import ui

        ui.serve(settings().home / "evidently", port or settings().evidently_port, progress)
