"""The second pair of eyes: before a version may serve, everything its verdict says is checked again.

The gate writes, the notary checks, and the two share no computation but the making again: what a mistake or a hand in
the gate lets through must be let through here as well. It asks whether the record is the gate's, whether every rule of
the spec is in it with the spec's bounds, whether each decision follows from its numbers, whether the numbers follow
from the evidence, whether the evidence is what these models say of the held-out rows, whether the candidate behaves as
the record says, and whether it comes out again when it is made again.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import Decision, EvergreenError, Kind, Rule, Verdict
from pipelines.gate import record
from pipelines.gate.notary import arithmetic, asked_again, classes, recount
from pipelines.gate.notary.expected import Against, begin, demanded
from pipelines.stores import Stores
from pipelines.stores.erasures import Erasures
from pipelines.stores.tracking.registry import Version, file_digest
from pipelines.training.answers import inputs_of
from pipelines.training.checkout import environment, libraries
from pipelines.training.training_set import as_served, path_of

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

CLOSE = 1e-9
"""How far two computations of one number may lie apart."""


@dataclass(frozen=True)
class Deed:
    """What the notary looks at: the version as registered, its verdict, and the rows the gate had."""

    spec: ModelSpec
    version: Version
    verdict: Verdict
    against: Against
    stores: Stores
    evidence: "pd.DataFrame"
    held: "pd.DataFrame"

    @cached_property
    def rules(self) -> dict[str, Rule]:
        return {rule.name: rule for rule in self.verdict.rules}

    @cached_property
    def candidate(self) -> Any:
        """The fitted model, from its file."""
        return self.stores.tracking.load(self.spec.name, self.version.version)


def attested(spec: ModelSpec, version: int, stores: Stores) -> Verdict:
    """The verdict on a version, after all of it has been checked; EvergreenError says what does not hold."""
    found = stores.tracking.version(spec.name, version)
    verdict = record.read(found, stores)
    wrong = list(_bound_to(spec, found, verdict, stores))
    if not wrong:
        wrong = _examined(_deed(spec, found, verdict, stores))
    if wrong:
        raise EvergreenError(
            f"version {version} is refused by the notary: {'; '.join(wrong)}. Judge it again with "
            f"`evergreen evaluate {spec.name} --version {version}`; if that changes nothing, look who touched the gate"
        )
    return verdict


def _deed(spec: ModelSpec, version: Version, verdict: Verdict, stores: Stores) -> Deed:
    numbers = {"champion": verdict.champion_version, "anchor": verdict.anchor_version}
    others = {who: stores.tracking.version(spec.name, number) for who, number in numbers.items() if number}
    against = Against(version, others.get("champion"), others.get("anchor"))
    return Deed(
        spec, version, verdict, against, stores, record.evidence(verdict, stores), _held(version, stores)
    )


def _examined(deed: Deed) -> list[str]:
    """Everything that does not hold, in sentences."""
    wrong = [*_complete(deed), *_consistent(deed.verdict), *_true(deed)]
    wrong = wrong or [
        *_computed(deed),
        *recount.mistakes(_count(deed)),
        *asked_again.mistakes(_hearing(deed)),
    ]
    return wrong or list(_made_again(deed))


def _bound_to(spec: ModelSpec, version: Version, verdict: Verdict, stores: Stores) -> Iterator[str]:
    """The verdict is on this file, this training set, this spec and this environment, and the log knows of it."""
    file = file_digest(stores.tracking.file(version))
    same = {
        "it is on another version": (verdict.model, verdict.version) == (version.model, version.version),
        "it is on another model file": verdict.digest == version.digest == file,
        "it is on another training set": verdict.training_set == version.tags.get("training_set"),
        "it is as of another moment": verdict.as_of == version.as_of,
        "it knows less than the champion": _fresh(version, verdict, stores),
        "another library wrote the file": json.loads(version.tags.get("libraries", "{}")) == libraries(),
        "the spec has changed since": verdict.spec_digest == spec.digest,
        "the environment has changed since": verdict.environment == environment(),
        "the audit log does not know it": _logged(version, verdict, stores),
    }
    yield from (what for what, holds in same.items() if not holds)


def _fresh(version: Version, verdict: Verdict, stores: Stores) -> bool:
    champion = verdict.champion_version
    return champion is None or version.as_of >= stores.tracking.version(version.model, champion).as_of


def _logged(version: Version, verdict: Verdict, stores: Stores) -> bool:
    """Whether the newest judgement of this version in the audit log is this one."""
    entries = stores.audit.entries(f"model:{version.model}@{version.version}", "gate", limit=1)
    said = (version.tags.get(record.DIGEST), verdict.decision.value)
    return bool(entries) and (entries[0].evidence.get("record"), entries[0].evidence.get("decision")) == said


def _held(version: Version, stores: Stores) -> "pd.DataFrame":
    """The held-out rows, from the training set that the version was registered with."""
    import pandas as pd

    path = path_of(version.model, version.tags.get("training_set", ""), stores)
    if not path.exists() or file_digest(path) != version.tags.get("training_rows"):
        if Erasures(stores.settings).file(version.tags.get("training_rows")) is not None:
            raise EvergreenError(
                f"rows of a person were erased from the training set of version {version.version}, so nobody can check"
                f" its verdict any more; `evergreen train {version.model}` makes a version that can be promoted"
            )
        raise EvergreenError(
            f"{path} is not the training set version {version.version} was registered with; train it again"
        )
    rows = pd.read_parquet(path)
    return rows[rows["split"] == "holdout"].reset_index(drop=True)


def _complete(deed: Deed) -> Iterator[str]:
    """Every rule the spec asks for is there, against the bound the spec names."""
    there = deed.rules
    for demand in demanded(deed.spec, deed.against):
        rule = there.get(demand.name)
        if rule is None:
            yield f"the rule `{demand.name}` was not tried"
        elif demand.bound is not None and (rule.metric, rule.bound, rule.confidence) != demand.numbers:
            yield f"`{demand.name}` was held against {rule.metric} {rule.bound}, not {demand.metric} {demand.bound}"
    for start in begin(deed.spec, deed.against):
        if not any(name.startswith(start) for name in there):
            yield f"no rule `{start} ...` was tried"


def _consistent(verdict: Verdict) -> Iterator[str]:
    """Each decision follows from its numbers, and the verdict from its rules."""
    for rule in verdict.rules:
        if follows(rule) is not rule.decision:
            yield f"`{rule.name}` says {rule.decision.value}, its numbers do not"
    passed = bool(verdict.rules) and all(rule.decision is Decision.PASS for rule in verdict.rules)
    if passed is not (verdict.decision is Decision.PASS):
        yield f"the verdict {verdict.decision.value} does not follow from its rules"


def follows(rule: Rule) -> Decision:
    """What a rule's numbers say; a fact says what it says."""
    value, bound = rule.value, rule.bound
    if rule.kind is Kind.FACT or bound is None or value is None:
        return rule.decision
    if rule.kind is Kind.ABOVE:
        return _above(rule, bound)
    if rule.kind is Kind.NOT_BELOW:
        return _not_below(rule, value, bound)
    if (value >= bound) if rule.kind is Kind.AT_LEAST else (value <= bound):
        return Decision.PASS
    return rule.decision if rule.decision is not Decision.PASS else Decision.FAIL


def _above(rule: Rule, bound: float) -> Decision:
    if rule.low is None or rule.high is None:
        return Decision.INCONCLUSIVE
    if rule.low > bound:
        return Decision.PASS
    return Decision.FAIL if rule.high < bound else Decision.INCONCLUSIVE


def _not_below(rule: Rule, value: float, bound: float) -> Decision:
    said = _above(rule, bound)
    if said is not Decision.INCONCLUSIVE or rule.low is None or rule.high is None:
        return said
    return said if 3 * value < rule.low - rule.high else Decision.PASS


def _computed(deed: Deed) -> Iterator[str]:
    """The numbers of the rules, computed from the evidence in another way."""
    there = deed.rules
    for demand in demanded(deed.spec, deed.against):
        rule = there.get(demand.name)
        if rule is None or demand.metric is None or rule.value is None:
            continue
        yield from arithmetic.mistakes(rule, demand, deed.evidence, CLOSE)


def _count(deed: Deed) -> recount.Count:
    return recount.Count(deed.spec, deed.rules, deed.held, deed.evidence, CLOSE)


def _hearing(deed: Deed) -> asked_again.Hearing:
    return asked_again.Hearing(
        deed.spec, deed.rules, deed.held, lambda rows: _answers(deed, deed.candidate, rows), CLOSE
    )


def _made_again(deed: Deed) -> Iterator[str]:
    """Rows and model came out once more: what somebody fitted to the held-out rows has every other number right."""
    import numpy as np

    from pipelines.training.rebuild import rebuilt

    if not deed.spec.gate.rebuild:
        return
    again = rebuilt(deed.spec, deed.version, deed.stores)
    if again.rows != deed.version.tags["training_rows"]:
        yield f"its training set cannot be made again: the tables give other rows ({again.rows[:12]})"
    said = classes.numbers(deed.evidence["candidate"])
    digest = hashlib.sha256(np.add(again.answers, 0.0, dtype="<f8").tobytes()).hexdigest()
    if digest != deed.version.tags["answers_digest"] or not _near(again.answers, said):
        yield f"its answers cannot be made again: {_gap(again.answers, said)}"


def _near(again: "NDArray[Any]", said: "NDArray[Any]") -> bool:
    import numpy as np

    return again.shape == said.shape and bool(np.allclose(again, said, rtol=0, atol=CLOSE))


def _gap(again: "NDArray[Any]", said: "NDArray[Any]") -> str:
    if len(again) != len(said):
        return f"{len(again):,} come out, {len(said):,} were judged"
    other = (again != said).reshape(len(said), -1).any(axis=1)
    return f"{int(other.sum()):,} of {len(said):,} rows answered otherwise, by up to {abs(again - said).max():.2f}"


def _true(deed: Deed) -> Iterator[str]:
    """The evidence is what these very models say of these very rows."""
    import numpy as np

    if len(deed.evidence) != len(deed.held):
        yield f"the evidence has {len(deed.evidence):,} rows, {len(deed.held):,} were held out"
        return
    if not np.array_equal(deed.evidence["label"], deed.held["label"].to_numpy("float64")):
        yield "the labels of the evidence are not those of the held-out rows"
    if not np.array_equal(deed.evidence["block"], _hours(deed.held)):
        yield "the hours of the evidence are not those of the held-out rows"
    candidate, many = deed.evidence["candidate"], deed.spec.outputs
    if deed.spec.task == "classification" and not candidate.between(0, 1).all():
        yield "an answer of the candidate is no probability"
    if many > 1 and not classes.sound(classes.numbers(candidate), many):
        yield "an answer of the candidate is no probability of each class"
    for who, said in _asked(deed):
        if who not in deed.evidence:
            yield f"the evidence lacks the answers of the {who}"
        elif not _near(classes.numbers(deed.evidence[who]), said):
            yield f"the answers of the {who} in the evidence are not its answers"


def _hours(held: "pd.DataFrame") -> "pd.Series[Any]":
    import pandas as pd

    hours: pd.Series[Any] = (held["event_timestamp"] - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(hours=1)
    return hours


def _asked(deed: Deed) -> "Iterator[tuple[str, NDArray[Any]]]":
    """Everybody's answers, from their files."""
    tracking, name, said = deed.stores.tracking, deed.spec.name, None
    yield "candidate", _answers(deed, deed.candidate, deed.held)
    yield "baseline", _answers(deed, tracking.load_baseline(deed.version), deed.held)
    for who, version in (("champion", deed.against.champion), ("anchor", deed.against.anchor)):
        if version is None or version.digest == deed.version.digest:
            continue
        if said is not None and version == deed.against.champion:
            yield who, said  # one version, asked once
            continue
        rows = deed.held
        if version.views != deed.version.views:
            rows = as_served(
                deed.spec, rows[[str(c) for c in rows if "__" not in str(c)]], version, deed.stores
            )
        said = _answers(deed, tracking.load(name, version.version), rows)
        yield who, said


def _answers(deed: Deed, model: Any, rows: "pd.DataFrame") -> "NDArray[Any]":
    import numpy as np

    inputs, places = inputs_of(rows, model), range(deed.spec.outputs)
    predict = getattr(model, "predict_proba", None)
    if predict is None:
        return np.asarray(model.predict(inputs), dtype="float64")
    if len(places) == 1:
        return np.asarray(predict(inputs)[:, 1], dtype="float64")
    known, said = [int(place) for place in model.classes_], predict(inputs)
    nothing = np.zeros(len(rows))
    return np.column_stack([said[:, known.index(p)] if p in known else nothing for p in places]).astype(
        "float64"
    )
