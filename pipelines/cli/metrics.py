"""`evergreen metrics`: the loop in numbers, for Prometheus."""

from collections.abc import Callable
from typing import Annotated

import typer

from pipelines.cli.output import errors, explained, settings
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
