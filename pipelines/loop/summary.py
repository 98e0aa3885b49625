"""What a person wants to know about the whole loop, read from its records."""

import json
from typing import Any

from pipelines import catalog
from pipelines.contracts import BatchState, as_json
from pipelines.ingestion.arrivals import strays
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.durable import address


def state(stores: Stores) -> dict[str, Any]:
    """Datasets, features, models with champion, verdict and drift, and the addresses of the pages."""
    return {
        "datasets": {name: landed(name, stores) for name in catalog.datasets()},
        "strays": strays(catalog.datasets().values(), stores.settings.landing_path),
        "features": computed(stores),
        "models": {name: model(name, stores) for name in catalog.models()},
        "pages": pages(stores.settings),
    }


def landed(dataset: str, stores: Stores) -> dict[str, Any]:
    """Rows by where they went, the models that wait for them, and the files that were refused with the reason."""
    batches, held = stores.ledger.batches(dataset=dataset), stores.ledger.quarantined(dataset)
    refused = [b for b in held if b.state == BatchState.REFUSED]
    counts = {
        field: sum(getattr(b, field) for b in batches) for field in ("silver", "quarantined", "superseded")
    }
    return {
        "files": len(batches),
        **counts,
        "models": catalog.models_on(dataset),
        "refused": [{"file": b.name, "reason": b.reason} for b in refused],
        "partly": [
            {"file": b.name, "rows": b.quarantined, "report": b.report} for b in held if b.quarantined
        ],
        "unopened": [
            {"file": name, "reason": reason} for name, reason in stores.ledger.left_unopened(dataset)
        ],
        "waiting": [b.name for b in stores.ledger.pending(dataset)],
        "known_until": as_json(stores.ledger.watermark(dataset)),
    }


def computed(stores: Stores) -> dict[str, Any]:
    """Each feature view's rows, the moment it has reached, and the models that ask for it."""
    from deltalake import DeltaTable

    found = {}
    newest = {version.view: version for version in stores.features.registered.versions()}
    for version in newest.values():
        reached = stores.progress.reached(version.consumer)
        if reached is not None:
            table = DeltaTable(address(stores.settings.lake_uri, "features", version.table))
            models = catalog.models_with(version.view)
            found[str(version)] = {"rows": table.count(), "known_until": as_json(reached), "models": models}
    return found


def model(name: str, stores: Stores) -> dict[str, Any]:
    """The champion with the verdict that let it through, the newest verdict, and the newest drift report."""
    from pipelines.promotion.missing import missing
    from pipelines.promotion.overview import overridden

    champion = stores.tracking.champion(name)
    records = [_read(path) for path in _newest_first(stores, name)]
    return {
        "champion": None
        if champion is None
        else {
            "version": champion.version,
            "as_of": as_json(champion.as_of),
            "override": overridden(champion, stores),
        },
        "missing": missing(name, stores),
        "champion_verdict": next((r for r in records if champion and r["version"] == champion.version), None),
        "newest_verdict": records[0] if records else None,
        "versions": len(records),
        "drift": _read(stores.files.at("reports", "monitor", name, "latest.json")),
        "predictions": stores.predictions.count(name),
    }


def pages(settings: Settings) -> dict[str, str]:
    """Every page a person can open."""
    base = f"http://{settings.reached_host}"
    return {
        "Airflow": f"{base}:{settings.airflow_port}",
        "MLflow": f"{base}:{settings.mlflow_port}",
        "Predictions API": f"{settings.serving_address}/docs",
        "Metrics": f"{settings.serving_address}/metrics",
    }


def _newest_first(stores: Stores, model: str) -> list[Any]:
    folder = stores.files.fetch_all(stores.settings.home / "decisions" / model)
    return sorted(folder.glob("[0-9]*.json"), key=lambda path: int(path.stem), reverse=True)


def _read(path: Any) -> Any:
    return json.loads(path.read_text()) if path.exists() else None
