"""What people pick up today: Feast's feature server, and the model behind `mlflow models serve`.

Who asks them reads the features from the one and sends them with the question to the other, over connections that stay
open. Nothing is logged, no feature's age is looked at, and the version is the one it was started with.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.servers import PORT, Connection, started
from pipelines import catalog
from pipelines.settings import PROJECT, Settings
from pipelines.stores import Stores
from pipelines.stores.feature_store.online_values import answered, reference


class Pair:
    """Asks both, one after the other."""

    def __init__(
        self, features: Connection, model: Connection, references: dict[str, str], columns: list[str]
    ) -> None:
        self._features, self._model = features, model
        self._references, self._columns = references, columns

    async def ask(self, question: bytes) -> dict[str, Any]:
        """The probability of a question in the form of our own route."""
        asked = json.loads(question)
        entities = {name: [value] for name, value in asked["entities"].items()}
        body = {"features": [*self._references.values()], "entities": entities, "full_feature_names": True}
        found = await self._features.post("/get-online-features", json.dumps(body).encode())
        named = zip(found["metadata"]["feature_names"], found["results"], strict=True)
        values = {name: result["values"][0] for name, result in named}
        row = {name: _plain(value) for name, value in {**asked["entities"], **asked["request"]}.items()}
        row |= {name: values[answered(reference)] for name, reference in self._references.items()}
        split = {"columns": self._columns, "data": [[_number(row.get(name)) for name in self._columns]]}
        said = await self._model.post("/invocations", json.dumps({"dataframe_split": split}).encode())
        return {"probability": said["predictions"][0][1]}

    def close(self) -> None:
        self._features.close()
        self._model.close()


def _plain(value: Any) -> Any:
    """A time without its zone, as the signature of an MLflow model has it."""
    return datetime.fromisoformat(value).replace(tzinfo=None).isoformat() if _is_time(value) else value


def _is_time(value: Any) -> bool:
    return isinstance(value, str) and value[:2] == "20" and "T" in value


def _number(value: Any) -> Any:
    """Its schema takes no whole number for a float."""
    return float(value) if isinstance(value, int) else value


@contextmanager
def pair(model: str, home: Path, folder: Path) -> Iterator[Any]:
    """Both servers, each in a process of its own; gives what connects to them."""
    stores = Stores(Settings(_env_file=None, home=home))
    version = stores.tracking.champion(model)
    assert version is not None
    fitted = stores.tracking.fitted(version)
    names = catalog.model(model).features_among(fitted.feature_names_in_)
    views = {name.split("__")[0]: 1 for name in names} | dict(version.views)
    references = {name: reference(name, views) for name in names}
    named = f"models:/{model}/{version.version}"
    serve = [
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        named,
        "--env-manager",
        "local",
        "-h",
        "127.0.0.1",
        "-p",
        PORT,
    ]
    reading = ["-m", "benchmarks.stock_pair", "--port", PORT]
    with ExitStack() as stack:
        features = stack.enter_context(started(reading, PROJECT, home, folder / "feast.log", "/health"))
        scoring = stack.enter_context(started(serve, PROJECT, home, folder / "mlflow.log", "/ping"))

        async def connect() -> Pair:
            return Pair(
                await Connection.to(features), await Connection.to(scoring), references,
                [str(name) for name in fitted.feature_names_in_],
            )  # fmt: skip

        yield connect


def main() -> None:
    """Feast's feature server on the feature store of a home; it never ends its worker of itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    Stores(Settings()).features.store.serve("127.0.0.1", given.port, max_requests=0, max_requests_jitter=0)


if __name__ == "__main__":
    sys.exit(main())
