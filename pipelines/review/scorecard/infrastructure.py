"""The seven items about what trains and serves the model."""

from pipelines.contracts import Decision, EvergreenError
from pipelines.promotion import champions
from pipelines.review.scorecard.evidence import (
    AUTOMATED,
    MANUAL,
    NONE,
    SLOW,
    Evidence,
    Scene,
    judged,
    nothing,
)
from pipelines.stores import proofs

JOURNEY = "tests/journey/test_journey.py"
LOOKED = 1000
"""So many of the newest predictions are looked at."""


def reproducible(scene: Scene) -> Evidence:
    """The gate made rows and answers of the champion a second time from its record."""
    return judged(scene, "being made again", lambda rule: rule.name.endswith("can be made again"))


def specified(scene: Scene) -> Evidence:
    """Tests of the model's own folder passed, or unit tests of its code."""
    own, code = f"tests/models/{scene.spec.name}", f"pipelines.models.{scene.spec.name}"
    found = scene.outcomes.of(own) or scene.outcomes.about(code, "unit")
    if not found:
        return nothing(f"no test below {own}, and no unit test of {code}, passed here")
    return Evidence(AUTOMATED, f"{len(found)} tests of its code passed", max(found.values()))


def integrated(scene: Scene) -> Evidence:
    """The journey from a landed file to a served answer passed, in a real Airflow."""
    found = scene.outcomes.of(JOURNEY)
    if not found:
        return nothing(f"{JOURNEY} did not pass here")
    return Evidence(
        AUTOMATED, f"{len(found)} steps from a landed file to a served answer passed", min(found.values())
    )


def validated(scene: Scene) -> Evidence:
    """The champion serves because its gate said PASS, as record, signature and licence say."""
    if scene.champion is None:
        return nothing("there is no champion")
    if scene.verdict is None:
        return nothing(f"version {scene.champion.version} serves without a record that the gate signed")
    tenures = [
        t for t in champions.tenures(scene.spec.name, scene.stores) if t.version == scene.champion.version
    ]
    if not tenures or scene.verdict.decision is not Decision.PASS or tenures[-1].decision != Decision.PASS:
        said = tenures[-1].decision if tenures else "nobody's decision"
        return Evidence(NONE, f"version {scene.champion.version} serves by {said}", scene.verdict.judged_at)
    try:
        scene.stores.tracking.licence(scene.champion)
    except EvergreenError as error:
        return Evidence(NONE, str(error), scene.verdict.judged_at)
    return Evidence(
        AUTOMATED, f"version {scene.champion.version} passed before it served", scene.verdict.judged_at
    )


def debuggable(scene: Scene) -> Evidence:
    """The newest answer can be followed back to the files it stands on, with nothing missing."""
    from pipelines.record.explain import explain

    newest = scene.stores.predictions.recent(scene.spec.name, 1)
    if not newest:
        return nothing("no prediction is logged that could be followed back")
    told = explain(newest[0].prediction_id, scene.stores)
    if told["missing"]:
        return Evidence(NONE, f"{newest[0].prediction_id}: {told['missing'][0]}", newest[0].asked_at)
    return Evidence(
        AUTOMATED, f"prediction {newest[0].prediction_id} followed back whole", newest[0].asked_at
    )


def canaried(scene: Scene) -> Evidence:
    """The champion had answered part of the real questions before it became champion."""
    if scene.champion is None:
        return nothing("there is no champion")
    begun = [
        t.since
        for t in champions.tenures(scene.spec.name, scene.stores)
        if t.version == scene.champion.version
    ]
    recent = scene.stores.predictions.recent(scene.spec.name, LOOKED)
    early = [
        p.asked_at for p in recent if p.version == scene.champion.version and begun and p.asked_at < begun[0]
    ]
    if not early:
        return nothing(
            "no new version answered part of the real questions first; the gate only asks it in a probe"
        )
    return Evidence(AUTOMATED, f"{len(early)} real questions before it became champion", max(early))


def rolled_back(scene: Scene) -> Evidence:
    """A rollback was proved under kills; or a person did one."""
    proof = proofs.read("promotion", scene.stores.settings)
    if proof is not None:
        said = f"`evergreen prove promotion`: {'holds' if proof.holds else 'BROKEN'}"
        return Evidence(AUTOMATED if proof.holds else NONE, said, proof.at)
    done = [t for t in champions.tenures(scene.spec.name, scene.stores) if t.action == champions.ROLLBACK]
    if not done:
        return nothing("no rollback was proved or done here")
    return Evidence(MANUAL, f"{done[-1].who} went back to version {done[-1].version}", done[-1].since, SLOW)
