"""Waits for a file of a dataset in a DAG of one's own, parked in the triggerer without a worker's slot."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

from airflow.sdk import BaseSensorOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

from evergreen_airflow.arrivals import lying, matching
from pipelines.catalog import dataset as dataset_named


def taken_in(dataset: str, file: str) -> list[str]:
    """The files of a dataset in the ledger whose names match, in order of arrival."""
    from pipelines.settings import settings
    from pipelines.stores import Stores

    names = [batch.name for batch in Stores(settings()).ledger.batches(dataset)]
    return [name for name in names if fnmatchcase(name, file)]


class LandedTrigger(BaseTrigger):
    """Ends with the names of the files that lie settled in the folder or were taken in beyond the first `known`.

    Ingestion takes a file out of the folder within seconds: a look at the folder alone could miss it.
    """

    def __init__(self, dataset: str, folder: str, file: str, known: int, poll_seconds: float) -> None:
        super().__init__()
        self.dataset, self.folder, self.file = dataset, folder, file
        self.known, self.poll_seconds = known, poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        names = ("dataset", "folder", "file", "known", "poll_seconds")
        return f"{type(self).__module__}.{type(self).__qualname__}", {n: getattr(self, n) for n in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        before = matching(await asyncio.to_thread(lying, self.folder), self.file)
        while True:
            await asyncio.sleep(self.poll_seconds)
            now = matching(await asyncio.to_thread(lying, self.folder), self.file)
            taken = await asyncio.to_thread(taken_in, self.dataset, self.file)
            names = {name for name, _, _ in now & before} | set(taken[self.known :])
            if names:
                yield TriggerEvent({"files": sorted(names)})
                return
            before = now


class LandingSensor(BaseSensorOperator):
    """Waits until a file of a dataset has landed; returns the names of what landed.

    Without `file`, a file that lies in the landing folder or comes after the task began to wait. With `file`
    (a glob, such as "flights_20130401*"), also one that was taken in long before. `timeout` and `soft_fail`
    are those of every sensor.
    """

    template_fields = ("dataset", "file")

    def __init__(
        self, *, dataset: str, file: str | None = None, poll_seconds: float = 2.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.dataset, self.file, self.poll_seconds = dataset, file, poll_seconds

    def execute(self, context: Any) -> list[str] | None:
        from pipelines.settings import settings

        spec = dataset_named(self.dataset)
        file = self.file or spec.pattern
        taken = taken_in(spec.name, file)
        if self.file and taken:
            return sorted(taken)
        folder = str(settings().landing_path)
        return self.defer(
            trigger=LandedTrigger(spec.name, folder, file, len(taken), self.poll_seconds),
            method_name="landed",
            timeout=timedelta(seconds=self.timeout),
        )

    def landed(self, context: Any, event: dict[str, Any]) -> list[str]:
        """Resumed by the trigger."""
        return list(event["files"])
