"""Stores that read a deployment and write nothing into it but the audit log."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import SecretStr

from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.audit.log import Audit
from pipelines.stores.feature_store.features import Features
from pipelines.stores.feature_store.views import Known


@dataclass(frozen=True)
class ReadOnlyStores(Stores):
    """A home of its own over the lake, database, MLflow and keys of another; no view is registered."""

    lender: Settings | None = None

    @cached_property
    def features(self) -> Features:
        return Features(self.settings, Known(self.settings.database))

    @cached_property
    def audit(self) -> Audit:
        return Audit(self.lender or self.settings, self.keys)


def read_only(stores: Stores, home: Path) -> ReadOnlyStores:
    """The same stores with `home` as the folder for whatever is made on the way."""
    given = stores.settings
    theirs = {
        "home": home,
        "landing": given.landing_path,
        "lake": given.lake_uri,
        "database_url": SecretStr(given.database),
        "keys": given.keys_path,
        "tracking_uri": given.tracking_uri or SecretStr(given.mlflow_uri),
        "artifact_root": given.mlflow_artifacts,
    }
    return ReadOnlyStores(given.model_copy(update=theirs), stores.who, lender=given)
