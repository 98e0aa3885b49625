"""The version that is being rolled out: loaded beside the champion as long as its permit is good."""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pipelines.serving.causes import Cause, passed
from pipelines.serving.retries import Retries
from pipelines.serving.served import Body, Served, flat
from pipelines.serving.sources import ChampionLike, Champions, Rollouts
from pipelines.stores.audit.licences import Licence
from pipelines.stores.audit.permits import Permit

log = logging.getLogger("evergreen.serving")
Load = Callable[[ChampionLike, Licence], Served]
"""Loads a version once it is sure that it answers; raises if it does not."""


@dataclass(frozen=True)
class Arm:
    """A challenger that answers beside its champion, and by which right."""

    served: Served
    permit: Permit

    def answers(self, asked: Body) -> bool:
        """Whether this question is the challenger's: who asks is told apart by the permit's fields, and stays with it
        as the share grows."""
        said = flat(asked)
        text = json.dumps([self.permit.rollout, *(said[name] for name in self.permit.by)], default=str)
        place = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
        return place < self.permit.share


class Challenger:
    """Follows the version that is being rolled out, as a Predictor follows its champion; whatever fails, there is none.

    `last_error` is one of our causes.
    """

    def __init__(self, model: str, rollouts: Rollouts, load: Load) -> None:
        self._model, self._rollouts, self._load = model, rollouts, load
        self._arm: Arm | None = None
        self._retries = Retries()
        self.last_error: str | None = None

    def beside(self, champion: Served) -> Arm | None:
        """The challenger of this champion; None if there is none, or its permit speaks of another."""
        arm = self._arm
        return arm if arm is not None and arm.permit.champion == champion.version else None

    def follow(self, challengers: Champions) -> None:
        """Look once which version is rolled out now, and by which permit."""
        try:
            found = challengers(self._model)
        except Exception as error:  # nobody can say; who answers a share goes on
            self._tell(str(Cause.SILENT), error)
            return
        if found is None:
            self._arm = self.last_error = None
            return
        try:
            self._arm = self._permitted(found)
        except Exception as error:
            self._arm = None
            cause = getattr(error, "cause", Cause.UNLICENSED)
            self._tell(f"version {found.version} is not asked beside the champion: {cause}", error)

    def _permitted(self, found: ChampionLike) -> Arm | None:
        permit = self._rollouts.permit(found)
        key = (found.version, found.digest)
        arm = self._arm
        if arm is not None and (arm.served.version, arm.served.digest) == key:
            self.last_error = None
            return arm if arm.permit == permit else replace(arm, permit=permit)
        if self._retries.wait((key, permit.rollout)):
            return None
        try:
            made = Arm(self._load(found, permit.licence), permit)
        except Exception:
            self._retries.failed((key, permit.rollout))
            raise
        self._retries.went()
        self.last_error = None
        log.info("%s: version %s is asked beside the champion", self._model, found.version)
        return made

    def _tell(self, said: str, error: Any) -> None:
        if said != self.last_error:
            log.warning("%s: %s (%s)", self._model, said, passed(error))
        self.last_error = said
