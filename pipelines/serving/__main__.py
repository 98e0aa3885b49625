"""`python -m pipelines.serving`: the prediction API on the real stores."""

import logging
import os
import socket
import sys
import threading
from datetime import timedelta
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from pipelines import catalog
from pipelines.contracts import EvergreenError
from pipelines.places import LOOPBACK
from pipelines.serving.app import create_app
from pipelines.serving.causes import Discreet, passed
from pipelines.serving.door.entrance import entrance
from pipelines.serving.door.tls import offered
from pipelines.serving.http.explanations import Backgrounds
from pipelines.serving.http.turnstile import Turnstile
from pipelines.serving.outages import remembered
from pipelines.serving.outages import spool as spooling
from pipelines.serving.outages.deadline import Deadline, PromptFeatures
from pipelines.serving.outages.remembered import Remembered
from pipelines.serving.outages.spool import Spool
from pipelines.serving.workers.processes import keep, this
from pipelines.settings import Settings, settings
from pipelines.stores import Stores

APP = "pipelines.serving.__main__:app"
KEPT = 75
"""Seconds for which a connection on which nobody asks is kept: longer than load balancers and clients do, a minute as a
rule, for whoever asks over one that was just closed has no answer."""


def main() -> int:
    """Serve until told to stop; 2 when something must be mended first."""
    _log()
    try:
        current = settings()
        listening = _listen(current)
        given = {"http": Turnstile, "timeout_keep_alive": KEPT, **offered(current)}
        alone = app()  # also where others answer: what is amiss is told once, here
    except EvergreenError as error:
        print(error, file=sys.stderr)
        return 2
    if current.serving_workers > 1:
        keep(APP, current.serving_workers, listening, current.home / "serving" / "workers", **given)
        return 0
    config = uvicorn.Config(alone, access_log=False, log_config=None, timeout_graceful_shutdown=10, **given)
    uvicorn.Server(config).run(sockets=[listening])
    return 0


def app(shared: Path | None = None) -> FastAPI:
    """The app of one process, with all that it leans on; `shared` is the folder of several that answer at one port."""
    _log()
    current = _named(settings())
    stores = Stores(current)
    models, kept = catalog.models(), current.home / "serving"
    registry = Remembered(stores.tracking, models, kept / "champions.json")
    spool = Spool(stores.predictions, kept / "answers", current.serving_backend_seconds)
    features = PromptFeatures(stores.features, current.serving_backend_seconds)
    return create_app(
        current, models, registry, features, spool, entrance(current, lambda: stores.api_keys), registry,
        stores.comparisons, lambda: _notes(registry, spool), _backgrounds(stores, current.serving_backend_seconds),
        this(shared, [spool], lambda figures: stores.costs.add_up(figures, timedelta(days=current.cost_log_days))),
    )  # fmt: skip


def _named(current: Settings) -> Settings:
    """On loopback, where nobody said otherwise, it is asked under loopback's names alone."""
    if current.serving_hosts or current.host not in LOOPBACK:
        return current
    return current.model_copy(update={"serving_hosts": ",".join(LOOPBACK)})


def _backgrounds(stores: Stores, seconds: float) -> Backgrounds:
    """The rows that answers are explained by, from MLflow, verified as the models are."""
    deadline = Deadline(seconds)

    tracking = stores.tracking
    return lambda *which: deadline.call(lambda: tracking.background(tracking.that_answered(*which)))


def _notes(registry: Remembered, spool: Spool) -> list[str]:
    """What is not as it should be, for whoever asks."""
    said = {remembered.NOTE: registry.stale, spooling.NOTE: bool(spool.waiting)}
    return [note for note, is_so in said.items() if is_so]


def _log() -> None:
    """One stream of log lines in which no library writes an address or what an exception says."""
    handler = logging.StreamHandler()
    handler.setFormatter(Discreet("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    threading.excepthook = _ended
    logging.getLogger("feast").setLevel(logging.WARNING)  # it tells of every refresh of its registry
    logging.getLogger("urllib3").setLevel(
        logging.ERROR
    )  # it tells of every retry, with address and exception


def _ended(thread: threading.ExceptHookArgs) -> None:
    """A thread that ends by an error is told of without what that says, as anything else is."""
    name = thread.thread.name if thread.thread else "unknown"
    error = passed(thread.exc_value) if thread.exc_value else thread.exc_type.__name__
    logging.getLogger("evergreen.serving").error("the thread %s ended: %s", name, error)


def _listen(current: Settings) -> socket.socket:
    """The listening socket, taken before anything is loaded, so that a taken port is told at once."""
    family = socket.AF_INET6 if ":" in current.host else socket.AF_INET
    try:
        return socket.create_server((current.host, current.serving_port), family=family, backlog=512)
    except OSError as error:
        raise EvergreenError(
            f"serving cannot listen on {current.host}:{current.serving_port} ({os.strerror(error.errno or 0)}); "
            "stop what uses the port, or set EVERGREEN_SERVING_PORT (and EVERGREEN_HOST) to a free one"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
