"""Where searches are kept while they run: Optuna's tables, in the deployment's database or a file under home."""

import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipelines.places import sqlite_url
from pipelines.settings import Settings

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import RDBStorage


class Studies:
    """The searches of one deployment. A study outlives the process that works on it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _storage(self) -> "RDBStorage":
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self._settings.home.mkdir(parents=True, exist_ok=True)
        return optuna.storages.RDBStorage(self.address)

    @property
    def address(self) -> str:
        """SQLite gets a file of its own, so that a trial's end never waits for the ledger."""
        url = self._settings.database
        return sqlite_url(self._settings.home / "search.db") if url.startswith("sqlite") else url

    def opened(self, name: str, maximize: bool, facts: Mapping[str, Any]) -> "Study":
        """The study of this name, made if there is none; the facts are on it."""
        import optuna

        direction = "maximize" if maximize else "minimize"
        pruner = optuna.pruners.MedianPruner(n_startup_trials=5)
        study = optuna.create_study(
            storage=self._storage, study_name=name, direction=direction, pruner=pruner, load_if_exists=True
        )
        for key, value in facts.items():
            study.set_user_attr(key, value)
        return study

    def last_ended(self, model: str) -> datetime | None:
        """When the last trial of the newest search of a model that came to its end was finished; None without one."""
        if self.address.startswith("sqlite") and not (self._settings.home / "search.db").is_file():
            return None
        import optuna

        found = optuna.get_all_study_summaries(self._storage, include_best_trial=False)
        ended = [s for s in found if s.user_attrs.get("model") == model and s.user_attrs.get("ended")]
        times = [
            trial.datetime_complete.astimezone(UTC)  # Optuna's are this machine's, without a zone
            for study in ended
            for trial in optuna.load_study(study_name=study.study_name, storage=self._storage).trials
            if trial.datetime_complete is not None
        ]
        return max(times, default=None)

    def facts(self, **wanted: str) -> list[dict[str, Any]]:
        """The facts on each study that has these among them, the newest first."""
        import optuna

        found = optuna.get_all_study_summaries(self._storage, include_best_trial=False)
        newest = sorted(found, key=lambda study: study._study_id, reverse=True)
        kept = [dict(study.user_attrs) for study in newest]
        return [facts for facts in kept if all(facts.get(key) == value for key, value in wanted.items())]
