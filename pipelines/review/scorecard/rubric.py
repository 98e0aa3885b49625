"""The 28 items of the rubric, each with what looks for its evidence, what shows it, and what to do where nothing does.

Breck, Cai, Nielsen, Salib and Sculley: The ML Test Score: A Rubric for ML Production Readiness and Technical Debt
Reduction. IEEE International Conference on Big Data, 2017. The titles are the paper's, the evidence is ours.
"""

from dataclasses import dataclass

from pipelines.review.scorecard import data, infrastructure, model, monitoring
from pipelines.review.scorecard.evidence import Check


@dataclass(frozen=True)
class Item:
    """One line of the rubric: `command` shows its evidence, `remedy` makes it; {model} in them is the model's name."""

    title: str
    check: Check
    command: str
    remedy: str


SECTIONS: dict[str, tuple[Item, ...]] = {
    "data": (
        Item(
            "Feature expectations are captured in a schema",
            data.schema,
            "evergreen features health",
            "write suites in expectations/features, then `evergreen features compute`",
        ),
        Item(
            "All features are beneficial",
            data.beneficial,
            "evergreen card {model}",
            "leave idle views out of spec.yaml, or judge again: `evergreen evaluate {model}`",
        ),
        Item(
            "No feature's cost is too much",
            data.cost,
            "evergreen features health",
            "let the view's SQL read less, or raise gate.serving on purpose",
        ),
        Item(
            "Features adhere to meta-level requirements",
            data.meta,
            "evergreen check {model}",
            "mend what `evergreen check {model}` names",
        ),
        Item(
            "The data pipeline has appropriate privacy controls",
            data.privacy,
            "evergreen card {model}",
            "say under 'Personal data' in CARD.md which columns are about persons, and commit it",
        ),
        Item(
            "New features can be added quickly",
            data.quick,
            "evergreen features",
            "train on a new view soon: `evergreen features compute`, `evergreen train {model}`",
        ),
        Item(
            "All input feature code is tested",
            data.tested,
            "make test",
            "write tests that name each view, and run them here: `make test`",
        ),
    ),
    "model": (
        Item(
            "Model specs are reviewed and submitted",
            model.reviewed,
            "evergreen diff HEAD~1 {model}",
            "commit it with a `Reviewed-by:` of somebody else, and a CODEOWNERS that asks for one",
        ),
        Item(
            "Offline and online metrics correlate",
            model.correlated,
            "evergreen monitor {model}",
            "let the monitor run while three champions serve: `evergreen monitor {model}`",
        ),
        Item(
            "All hyperparameters have been tuned",
            model.tuned,
            "evergreen search {model}",
            "give spec.yaml a `search`, and run `evergreen search {model}`",
        ),
        Item(
            "The impact of model staleness is known",
            model.staleness,
            "evergreen monitor {model}",
            "give spec.yaml a monitor.decay, and monitor after truth has come: `evergreen monitor {model}`",
        ),
        Item(
            "A simpler model is not better",
            model.simpler,
            "evergreen why {model}",
            "judge again: `evergreen evaluate {model}`",
        ),
        Item(
            "Model quality is sufficient on important data slices",
            model.slices,
            "evergreen why {model}",
            "name gate.slices in spec.yaml, with floors while there is no champion, and judge again",
        ),
        Item(
            "The model is tested for considerations of inclusion",
            model.inclusion,
            "evergreen why {model}",
            "name gate.fairness in spec.yaml, or say under 'Fairness' in CARD.md why none is needed",
        ),
    ),
    "infrastructure": (
        Item(
            "Training is reproducible",
            infrastructure.reproducible,
            "evergreen reproduce {model}",
            "leave gate.rebuild on, and judge again: `evergreen evaluate {model}`",
        ),
        Item(
            "Model specs are unit tested",
            infrastructure.specified,
            "make test",
            "write tests/models/{model}, and run them here: `make test`",
        ),
        Item(
            "The ML pipeline is integration tested",
            infrastructure.integrated,
            "make test",
            "run the journey here: `make test`",
        ),
        Item(
            "Model quality is validated before serving",
            infrastructure.validated,
            "evergreen why {model}",
            "promote a version that passed: `evergreen promote {model}`",
        ),
        Item(
            "The model is debuggable",
            infrastructure.debuggable,
            "evergreen explain PREDICTION_ID",
            "ask it, then follow the answer: `evergreen predict {model}`",
        ),
        Item(
            "Models are canaried before serving",
            infrastructure.canaried,
            "evergreen who-was-champion {model}",
            "send part of the real questions to a version before it is promoted",
        ),
        Item(
            "Serving models can be rolled back",
            infrastructure.rolled_back,
            "evergreen prove promotion",
            "prove it: `evergreen prove promotion`",
        ),
    ),
    "monitoring": (
        Item(
            "Dependency changes result in notification",
            monitoring.notified,
            "make test",
            "set EVERGREEN_ALERT_URLS, and run `make test`",
        ),
        Item(
            "Data invariants hold for inputs",
            monitoring.invariants,
            "evergreen status",
            "land files and take them in: `evergreen ingest`",
        ),
        Item(
            "Training and serving are not skewed",
            monitoring.unskewed,
            "evergreen parity {model}",
            "ask it, then `evergreen parity {model}` names every difference",
        ),
        Item(
            "Models are not too stale",
            monitoring.fresh,
            "evergreen why {model}",
            "train and promote on what has landed: `evergreen train {model}`",
        ),
        Item(
            "Models are numerically stable",
            monitoring.stable,
            "evergreen why {model}",
            "judge again: `evergreen evaluate {model}`",
        ),
        Item(
            "Computing performance has not regressed",
            monitoring.swift,
            "evergreen why {model}",
            "judge again: `evergreen evaluate {model}`",
        ),
        Item(
            "Prediction quality has not regressed",
            monitoring.kept_quality,
            "evergreen monitor {model}",
            "monitor after truth has come: `evergreen monitor {model}`",
        ),
    ),
}
"""The rubric, in the paper's order."""
