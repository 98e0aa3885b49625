"""The seven items about how the model was made."""

import re
from typing import Any

from pipelines.review.scorecard.evidence import (
    AUTOMATED,
    MANUAL,
    NONE,
    SLOW,
    Evidence,
    Scene,
    judged,
    nothing,
    written,
)
from pipelines.review.scorecard.repository import committed, dirty, last, owned

INCLUSION = re.compile(r"(?im)^(#+|\*\*)\s*(inclusion|fairness|groups|bias)\b")
ENOUGH = 3
"""Versions of which both sides are known, before a correlation says anything."""


def reviewed(scene: Scene) -> Evidence:
    """The spec is committed as it is and somebody else looked at it; a point where the forge asks for that."""
    folder = f"pipelines/models/{scene.spec.name}"
    found = last(scene.project, folder)
    if found is None or dirty(scene.project, folder):
        return nothing(f"{folder} is not committed as it is")
    others = [name for name in found.reviewers if not name.startswith(found.author)]
    if not others:
        return Evidence(
            NONE, f"nobody but its author, {found.author}, is known to have looked", found.at, SLOW
        )
    asked = owned(scene.project, folder)
    said = f"reviewed by {', '.join(others)}" + (
        "; CODEOWNERS asks for it" if asked else "; nothing enforces it"
    )
    return Evidence(AUTOMATED if asked else MANUAL, said, found.at, SLOW)


def correlated(scene: Scene) -> Evidence:
    """Versions that lost less at their gate lost less on the truth that came later."""
    reports = [found for path in scene.monitored.glob("version_*.json") if (found := written(path))]
    pairs = [(float(d["at_gate"]), float(d["since"]), at) for said, at in reports if (d := _both(said))]
    if len(pairs) < ENOUGH:
        return nothing(
            f"{len(pairs)} champions have a loss at the gate and one on later truth, {ENOUGH} are needed"
        )
    from scipy.stats import spearmanr

    rank = float(spearmanr([p[0] for p in pairs], [p[1] for p in pairs]).statistic)
    said = f"rank correlation {rank:+.2f} over {len(pairs)} champions, at the gate against later truth"
    return Evidence(AUTOMATED if rank > 0 else NONE, said, max(at for *_, at in pairs))


def _both(said: dict[str, Any]) -> dict[str, Any] | None:
    decay = said.get("decay")
    whole = isinstance(decay, dict) and decay.get("at_gate") is not None and decay.get("since") is not None
    return decay if whole else None


def tuned(scene: Scene) -> Evidence:
    """A search over the parameters ended, here."""
    from pipelines.stores.tracking.studies import Studies

    if scene.spec.search is None:
        return nothing("spec.yaml has no `search`")
    at = Studies(scene.stores.settings).last_ended(scene.spec.name)
    if at is None:
        return nothing("no search of its parameters ended here")
    names = ", ".join(scene.spec.search.space)
    return Evidence(AUTOMATED, f"searched over {names}", at)


def staleness(scene: Scene) -> Evidence:
    """How much more the champion loses on truth that came after its training."""
    if scene.monitor is None or _both(scene.monitor[0]) is None:
        return nothing("the monitor has not measured the champion on truth that came after its training")
    return Evidence(AUTOMATED, str(scene.monitor[0]["decay"]["explanation"]), scene.monitor[1])


def simpler(scene: Scene) -> Evidence:
    """The gate held the champion against the simple baseline."""
    return judged(
        scene,
        "a simpler model",
        lambda rule: rule.name.endswith("than the baseline's") and rule.value is not None,
    )


def slices(scene: Scene) -> Evidence:
    """The gate judged parts of the rows, with figures."""
    return judged(
        scene,
        "slices of the rows",
        lambda rule: rule.name.startswith(("slice ", "worst slice")) and rule.value is not None,
    )


def inclusion(scene: Scene) -> Evidence:
    """The gate held groups against each other; or a person wrote of them."""
    found = judged(scene, "how groups fare", lambda rule: rule.name.startswith("fairness of "))
    if found.points or not INCLUSION.search(scene.card()) or scene.spec.gate.fairness:
        return found
    at = committed(scene.project, f"pipelines/models/{scene.spec.name}/CARD.md")
    return Evidence(MANUAL, "CARD.md says how groups fare; no rule holds it", at, SLOW)
