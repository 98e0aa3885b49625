"""What an item of the rubric stands on: points, in words why, and when that was last so."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import Decision, EvergreenError, Rule, Verdict
from pipelines.review.scorecard.outcomes import Outcomes
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import Version

NONE, MANUAL, AUTOMATED = 0.0, 0.5, 1.0
"""The paper's points: not done, done by a person and documented, done by the system again and again."""
SLOW = timedelta(days=365)
"""How long a review, a document or a person's own deed counts: they are not done every month."""


@dataclass(frozen=True)
class Evidence:
    """`at` is when what it stands on came to be (UTC), None where there is nothing; `lasts` how long it counts."""

    points: float
    said: str
    at: datetime | None = None
    lasts: timedelta | None = None


def nothing(why: str) -> Evidence:
    """No evidence, and what is missing."""
    return Evidence(NONE, why)


@dataclass(frozen=True)
class Scene:
    """One model in one home. `looking` are the same stores for whoever must not register a view by looking at it."""

    spec: ModelSpec
    stores: Stores
    looking: Stores
    now: datetime
    project: Path
    outcomes: Outcomes

    @cached_property
    def champion(self) -> Version | None:
        return self.stores.tracking.champion(self.spec.name)

    @cached_property
    def verdict(self) -> Verdict | None:
        """The gate's record on the champion; None if there is none that the gate signed."""
        from pipelines.gate import record

        if self.champion is None:
            return None
        try:
            return record.read(self.champion, self.stores)
        except EvergreenError:
            return None

    @cached_property
    def views(self) -> list[str]:
        """The feature views that the model takes."""
        return list(self.spec.features_by_view)

    @property
    def monitored(self) -> Path:
        """Where the monitor's reports on the model lie."""
        return self.stores.files.fetch_all(self.stores.settings.home / "reports" / "monitor" / self.spec.name)

    @cached_property
    def monitor(self) -> tuple[dict[str, Any], datetime] | None:
        """The newest report of the monitor on the present champion, and when it was written."""
        found = written(self.monitored / "latest.json")
        ours = (
            found is not None
            and self.champion is not None
            and found[0].get("version") == self.champion.version
        )
        return found if ours else None

    def card(self) -> str:
        """What people say of the model."""
        path = self.project / "pipelines" / "models" / self.spec.name / "CARD.md"
        return path.read_text(encoding="utf-8") if path.is_file() else ""


Check = Callable[[Scene], Evidence]


def written(path: Path) -> tuple[dict[str, Any], datetime] | None:
    """A JSON file and when it was written; None if it is not there or says nothing."""
    import json

    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, ValueError):
        return None
    return (said, at) if isinstance(said, dict) else None


def judged(scene: Scene, what: str, chosen: Callable[[Rule], bool]) -> Evidence:
    """The champion's own verdict on some rules: a point if all that were tried passed, and any was."""
    if scene.champion is None or scene.verdict is None:
        return nothing("there is no champion whose verdict can be read")
    rules = [rule for rule in scene.verdict.rules if chosen(rule)]
    if not rules:
        return nothing(f"the gate of {scene.spec.name} has no rule about {what}")
    failed = [rule.name for rule in rules if rule.decision is not Decision.PASS]
    who = f"{scene.spec.name}@{scene.champion.version}"
    if failed:
        return Evidence(NONE, f"{who} did not pass: {', '.join(failed)}", scene.verdict.judged_at)
    return Evidence(AUTOMATED, f"{who} passed {len(rules)} rules about {what}", scene.verdict.judged_at)


def oldest(moments: Iterable[datetime | None]) -> datetime | None:
    """The oldest of some moments; None if one is missing, or all are."""
    found = list(moments)
    known = [moment for moment in found if moment is not None]
    return min(known) if known and len(known) == len(found) else None
