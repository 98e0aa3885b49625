"""The stores of one deployment, opened when first used and passed to the stages."""

from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from pipelines.acting import acting
from pipelines.contracts import EvergreenError
from pipelines.places import half_restored

if TYPE_CHECKING:
    from pipelines.settings import Settings
    from pipelines.stores.answers.archive import Archive
    from pipelines.stores.answers.comparisons import Comparisons
    from pipelines.stores.answers.predictions import Predictions
    from pipelines.stores.api_keys import ApiKeys
    from pipelines.stores.audit.keys import Keys
    from pipelines.stores.audit.log import Audit
    from pipelines.stores.feature_store.features import Features
    from pipelines.stores.ledger import Ledger
    from pipelines.stores.progress import Progress
    from pipelines.stores.shared.files import Files
    from pipelines.stores.signals import Signals
    from pipelines.stores.tables import Tables
    from pipelines.stores.tracking.registry import Tracking
    from pipelines.stores.watching.alerts import Alerts
    from pipelines.stores.watching.costs import Costs


@dataclass(frozen=True)
class Stores:
    """`who` is on whose behalf they are used; the audit log names it."""

    settings: "Settings"
    who: str = field(default_factory=acting)

    def __post_init__(self) -> None:
        """EvergreenError while the home is being restored from a backup."""
        unfinished = half_restored(self.settings.home)
        if unfinished is not None:
            raise EvergreenError(unfinished)

    @cached_property
    def keys(self) -> "Keys":
        from pipelines.stores.audit.keys import Keys

        return Keys(self.settings.keys_path, self.settings.home / "keys")

    @cached_property
    def audit(self) -> "Audit":
        from pipelines.stores.audit.log import Audit

        return Audit(self.settings, self.keys)

    @cached_property
    def files(self) -> "Files":
        from pipelines.stores.shared.files import Files

        return Files(self.settings.home, self.settings.storage)

    @cached_property
    def tables(self) -> "Tables":
        from pipelines.stores.tables import Tables

        return Tables(self.settings.lake_uri)

    @cached_property
    def ledger(self) -> "Ledger":
        from pipelines.stores.ledger import Ledger

        return Ledger(self.settings.database)

    @cached_property
    def progress(self) -> "Progress":
        from pipelines.stores.progress import Progress

        return Progress(self.settings.database)

    @cached_property
    def signals(self) -> "Signals":
        from pipelines.stores.signals import Signals

        return Signals(self.settings.database)

    @cached_property
    def alerts(self) -> "Alerts":
        from pipelines.stores.watching.alerts import Alerts

        return Alerts(self.settings.database, timedelta(hours=self.settings.alert_reminder_hours))

    @cached_property
    def features(self) -> "Features":
        from pipelines.stores.feature_store.features import Features

        return Features(self.settings)

    @cached_property
    def tracking(self) -> "Tracking":
        from pipelines.stores.tracking.registry import Tracking

        return Tracking(self.settings, self.keys)

    @cached_property
    def api_keys(self) -> "ApiKeys":
        from pipelines.stores.api_keys import ApiKeys

        return ApiKeys(self.settings.database)

    @cached_property
    def predictions(self) -> "Predictions":
        from pipelines.stores.answers.predictions import Predictions

        return Predictions(self.settings.database)

    @cached_property
    def archive(self) -> "Archive":
        from pipelines.stores.answers.archive import Archive

        return Archive(self.settings.database)

    @cached_property
    def comparisons(self) -> "Comparisons":
        from pipelines.stores.answers.comparisons import Comparisons

        return Comparisons(self.settings.database)

    @cached_property
    def costs(self) -> "Costs":
        from pipelines.stores.watching.costs import Costs

        return Costs(self.settings.database)
