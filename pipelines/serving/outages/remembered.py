"""Which versions were champions when the registry last said so, for a server that starts while it does not answer.

What is remembered is believed no more than the registry: signature, licence and digest are verified as ever.
"""

import json
import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.contracts import TransientError, as_json
from pipelines.places import whole
from pipelines.serving.causes import passed
from pipelines.serving.outages.deadline import Deadline
from pipelines.serving.outages.fetching import Fetching
from pipelines.serving.sources import ChampionLike, Champions
from pipelines.stores.audit.licences import Licence
from pipelines.stores.audit.permits import Permit
from pipelines.stores.tracking.registry import Tracking, Version

log = logging.getLogger("evergreen.serving")
NOTE = "the model registry was not heard since the start; champions are those it named before"
PATIENCE = 5.0
"""Seconds after which a registry that does not answer is said to hang."""
FIRST = 10.0
"""So many seconds the first look may take, which may have to import MLflow's client."""
FETCHED = 15.0
"""Seconds for which following champions waits for the file of one, which MLflow's client tries for minutes to get."""


Said = dict[str, Version | Exception | None]


class Remembered:
    """The registry, with a memory: until it answers once, its champions are those it named last.

    Who looks waits `patience` seconds at most, at the first look FIRST; who loads waits FETCHED for the file at most.
    """

    def __init__(
        self, tracking: Tracking, models: Iterable[str], path: Path, patience: float = PATIENCE
    ) -> None:
        self._tracking, self._models, self._path = tracking, tuple(models), path
        self._kept: dict[str, Version] | None = None
        self._deadline, self._beside = Deadline(patience, FIRST), Deadline(patience, FIRST)
        self._fetching = Fetching(FETCHED)
        self.stale = False

    def champions(self) -> Champions:
        """Every model's champion, read at once; of a registry that was not heard yet what is remembered of it."""
        try:
            found = self._deadline.call(lambda: self._read(self._tracking.champions))
        except Exception as error:
            if self._kept is not None or not self._path.exists():
                raise
            log.warning(
                "the model registry cannot be asked, so champions are as remembered: %s", passed(error)
            )
            self.stale = True
            return self._recalled()
        self.stale = False
        self._remember({model: said for model, said in found.items() if isinstance(said, Version)})
        return _named(found)

    def challengers(self) -> Champions:
        """Every version that is being rolled out, read at once."""
        return _named(self._beside.call(lambda: self._read(self._tracking.challengers)))

    def _read(self, ask: Callable[[], Callable[[str], Version | None]]) -> Said:
        """What the registry says of each model, or what is wrong with it; raises if it says nothing of any."""
        named, found = ask(), Said()
        for model in self._models:
            try:
                found[model] = named(model)
            except Exception as error:  # whoever looks it up is told what is wrong with it
                found[model] = error
        silent = [said for said in found.values() if isinstance(said, TransientError)]
        if silent and len(silent) == len(found):
            raise silent[0]
        return found

    def champion(self, model: str) -> ChampionLike | None:
        return self._tracking.champion(model)

    def licence(self, version: Any) -> Licence:
        return self._tracking.licence(version)

    def permit(self, version: Any) -> Permit:
        return self._tracking.permit(version)

    def fitted(self, version: Any) -> Any:
        """As the registry builds it; Underway while its file is fetched."""
        self._fetching.wait(
            (version.model, version.version, version.digest), lambda: self._tracking.file(version)
        )
        return self._tracking.fitted(version)

    def _remember(self, named: dict[str, Version]) -> None:
        """What changed since it was written down."""
        if named and named != self._kept:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with whole(self._path) as part:
                    part.write_text(json.dumps(as_json(named)))
            except OSError as error:
                log.warning("champions cannot be remembered: %s", passed(error))
                return
            self._kept = named

    def _recalled(self) -> Champions:
        named = json.loads(self._path.read_text())

        def recalled(model: str) -> Version | None:
            said = named.get(model)
            return said and Version(**said | {"as_of": datetime.fromisoformat(said["as_of"])})

        return recalled


def _named(found: Said) -> Champions:
    """What was said of each model; who looks up one that is wrong is told."""

    def named(model: str) -> Version | None:
        said = found.get(model)
        if isinstance(said, Exception):
            raise said
        return said

    return named
