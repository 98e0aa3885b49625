"""`evergreen metrics` and `evergreen evidently`: the loop in numbers, and drift in Evidently's own UI."""

from collections.abc import Callable
from typing import Annotated

import typer

from pipelines.cli.output import errors, explained, progress, settings
from pipelines.contracts import EvergreenError
from pipelines.stores import Stores


def metrics(
    serve: Annotated[
        bool,
        typer.Option("--serve", help="serve them at /metrics of EVERGREEN_METRICS_PORT until it is stopped"),
    ] = False,
) -> None:
    """Print how far data, features, models and trainings are, as Prometheus reads it; or serve that."""
    from pipelines.loop.gauges.collector import Loop

    with explained():
        loop = Loop(Stores(settings()))
        if not serve:
            typer.echo(loop.shown().decode(), nl=False)
            return
        _serve(loop.shown, settings().host, settings().metrics_port)


def _serve(shown: Callable[[], bytes], host: str, port: int) -> None:
    from pipelines.loop.gauges.server import server

    try:
        made = server(host, port, shown)
    except OSError as error:
        raise EvergreenError(
            f"port {port} of {host} cannot be had ({error.strerror}); set EVERGREEN_METRICS_PORT to another"
        ) from None
    named = f"[{host}]" if ":" in host else host
    errors.print(f"http://{named}:{made.server_address[1]}/metrics", markup=False)
    try:
        made.serve_forever()
    except KeyboardInterrupt:
        made.server_close()


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
