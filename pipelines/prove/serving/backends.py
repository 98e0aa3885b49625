"""What serving leans on in production, each behind a wire: PostgreSQL, MLflow's server and Redis."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.places import sqlite_url
from pipelines.prove.promotion.world import World, built
from pipelines.prove.servers import (
    mlflow_server,
    postgresql_missing,
    postgresql_server,
    redis_missing,
    redis_server,
)
from pipelines.prove.serving.wire import Wire

SERVERS = {"PostgreSQL": postgresql_server, "Redis": redis_server}
MLFLOW = "MLflow"
NAMES = (*SERVERS, MLFLOW)


@dataclass(frozen=True)
class Site:
    """A world whose back ends are servers, the wires to them by name, and what serving's environment says of them."""

    world: World
    wires: dict[str, Wire]
    told: dict[str, str]
    missing: list[str]


@contextmanager
def site(folder: Path, only: Collection[str] = NAMES, world: World | None = None) -> Iterator[Site]:
    """A world whose back ends are such servers, where this machine has them; what is `missing` is said why.

    A `world` that is there already keeps its database.
    """
    wanted = {name: why for name, why in _missing().items() if name in only}
    with ExitStack() as stack:
        addresses = dict[str, str]()
        for name in [name for name in SERVERS if name in wanted and wanted[name] is None]:
            # Each in a folder that another user may own, and whose name is short enough for a socket.
            own = stack.enter_context(TemporaryDirectory(prefix="evergreen-prove-"))
            addresses[name] = stack.enter_context(SERVERS[name](Path(own)))
        database = _url(addresses["PostgreSQL"]) if "PostgreSQL" in addresses else None
        found = world or built(folder / "home", database)
        if MLFLOW in wanted:
            (folder / MLFLOW).mkdir(parents=True)
            files = sqlite_url(found.home / "mlflow.db")
            addresses[MLFLOW] = stack.enter_context(mlflow_server(folder / MLFLOW, files))
        wires = {name: stack.enter_context(closing(_wire(address))) for name, address in addresses.items()}
        told = {key: value for name, wire in wires.items() for key, value in _told(name, wire.port).items()}
        yield Site(found, wires, told, [why for why in wanted.values() if why])


def _missing() -> dict[str, str | None]:
    return {"PostgreSQL": postgresql_missing(), "Redis": redis_missing(), MLFLOW: None}


def _wire(address: str) -> Wire:
    return Wire(int(address.rpartition(":")[2]))


def _told(name: str, port: int) -> dict[str, str]:
    """The settings by which serving finds a back end at this port of loopback."""
    address = f"127.0.0.1:{port}"
    return {
        "PostgreSQL": {"EVERGREEN_DATABASE_URL": _url(address)},
        "Redis": {"EVERGREEN_ONLINE_STORE": "redis", "EVERGREEN_REDIS_URL": address},
        MLFLOW: {"EVERGREEN_TRACKING_URI": f"http://{address}"},
    }[name]


def _url(address: str) -> str:
    return f"postgresql+psycopg2://evergreen@{address}/postgres"
