"""The notary's own count of rows, slices, calibration and fairness: which rules the rows ask for, and their numbers.

Nothing here calls the gate: parts are cut, rates taken and noise drawn in another way. The worst slice found is not
looked for again; that its decision follows from its numbers is checked where every rule's is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.catalog.gate_spec import Calibration, Fairness
from pipelines.contracts import Decision, Rule
from pipelines.gate.notary import arithmetic, classes
from pipelines.gate.notary.expected import Demand

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

DRAWS, ROUGH = 400, 0.003
"""Two draws of the same noise agree to this."""
MANY, QUARTILES = 10, (0, 0.25, 0.5, 0.75, 1)
POSITIVES, NEGATIVES = 1.0, 0.0


@dataclass(frozen=True)
class Count:
    """What is counted again: the spec, the rules of the record by name, the held-out rows, everybody's answers."""

    spec: ModelSpec
    rules: dict[str, Rule]
    held: "pd.DataFrame"
    evidence: "pd.DataFrame"
    close: float = 1e-9


def mistakes(count: Count) -> Iterator[str]:
    """What the rules say of how many rows there are, of slices, calibration or fairness, and the rows do not."""
    yield from _enough(count)
    yield from _slices(count)
    yield from _classes(count)
    if count.spec.gate.calibration is not None and count.spec.task != "regression":
        yield from _calibration(count, count.spec.gate.calibration)
    for asked in count.spec.gate.fairness:
        yield from _fairness(count, asked)


def _enough(count: Count) -> Iterator[str]:
    asked, hours = count.spec.gate, count.evidence["block"].nunique()
    for name, least, found in (
        ("enough rows", asked.minimum_rows, len(count.held)),
        ("enough hours", asked.minimum_blocks, hours),
    ):
        yield from arithmetic.stated(count.rules, name, least, found, count.close)


def parts(values: "pd.Series[Any]") -> "Iterator[tuple[str, Mask]]":
    """Each part of a column that is a slice, under the words its rule ends with."""
    import numpy as np
    from pandas.api import types

    known = values.notna().to_numpy()
    number = types.is_numeric_dtype(values) or types.is_datetime64_any_dtype(values)
    if number and not types.is_bool_dtype(values) and values.nunique() > MANY:
        plain = values[known]
        if types.is_datetime64_any_dtype(values):
            plain = plain.astype("int64")
        ordered = plain.to_numpy("float64")
        edges = np.unique(np.quantile(ordered, QUARTILES))
        place = np.full(len(values), -1)
        place[known] = np.searchsorted(edges[1:-1], ordered, side="left")
        for part in range(len(edges) - 1):
            yield f" part {part + 1} of {len(edges) - 1}", place == part
    else:
        text = values.astype("object").map(str, na_action="ignore")
        for value in text.dropna().unique():
            yield f" = {value}", (text == value).to_numpy("bool")
    if not known.all():
        yield " missing", ~known


def _slices(count: Count) -> Iterator[str]:
    asked = count.spec.gate.slices
    found = [
        (f"slice {column}{words}", mask)
        for column in asked.columns
        if column in count.held
        for words, mask in parts(count.held[column])
        if mask.sum() >= asked.minimum_rows
    ]
    level = 1 - (1 - asked.confidence) / max(len(found), 1)
    for name, mask in found:
        yield from _slice(count, name, mask, level)


def _slice(count: Count, name: str, mask: "Mask", level: float) -> Iterator[str]:
    asked, rule, rows = count.spec.gate.slices, count.rules.get(name), count.evidence[mask]
    if rule is None:
        yield f"the rule `{name}` was not tried on its {mask.sum():,} rows"
    elif rule.value is not None:
        demand = Demand(name, asked.metric, -asked.margin, level, "champion")
        unsure = abs((rule.confidence or 0) - level) > count.close
        if unsure or (rule.metric, rule.bound) != (demand.metric, demand.bound):
            yield f"`{name}` was held against {rule.metric} {rule.bound}, not {asked.metric} {-asked.margin}"
        yield from arithmetic.mistakes(rule, demand, rows, count.close)
    elif "champion" in rows and _decidable(count, rows):
        yield f"`{name}` passed without a number, its {mask.sum():,} rows could have told"
    for metric, bound, word in _bounds(count):
        yield from _bounded(count, f"{name}, {metric} {word}", metric, bound, rows)


def _decidable(count: Count, rows: "pd.DataFrame") -> bool:
    """Whether a comparison means something in every part of these rows that leaves one hour out."""
    if count.spec.task == "regression":
        return bool(rows["block"].nunique() > 1)
    if count.spec.task == "multiclass":
        each = rows.groupby("label")["block"].nunique()
        return len(each) > 1 and int(each.min()) > 1
    hours = [rows.loc[rows["label"] == label, "block"].nunique() for label in (POSITIVES, NEGATIVES)]
    return min(hours) > 1


def _bounds(count: Count) -> list[tuple[str, float, str]]:
    asked = count.spec.gate.slices
    return [
        *((metric, bound, "floor") for metric, bound in asked.floors.items()),
        *((metric, bound, "ceiling") for metric, bound in asked.ceilings.items()),
    ]


def _bounded(count: Count, name: str, metric: str, bound: float, rows: "pd.DataFrame") -> Iterator[str]:
    rule = count.rules.get(name)
    if rule is None or rule.bound not in (None, bound):
        yield f"the rule `{name}` was not tried against {bound}"
    elif rule.value is not None:
        said = arithmetic.metric(metric, rows["label"], rows["candidate"])
        yield from arithmetic.differs(rule, said, count.close)


def _calibration(count: Count, asked: Calibration) -> Iterator[str]:
    """The gap as a whole to the digit, the gap over the bins to what drawing its noise again leaves open."""
    sides, blocks = list(_told(count)), count.evidence["block"].to_numpy()
    whole = max(abs(float((said - labels).mean())) for labels, said in sides)
    yield from arithmetic.stated(count.rules, "calibration in the large", asked.mean, whole, count.close)
    gaps = [_gap_and_noise(labels, said, blocks, asked.bins) for labels, said in sides]
    quiet, name = max(max(0.0, raw - noise) for raw, noise in gaps), f"calibration over {asked.bins} bins"
    open_ = ROUGH + max(noise for _, noise in gaps) / 4
    yield from arithmetic.stated(count.rules, name, asked.error, quiet, open_)


def _told(count: Count) -> "Iterator[tuple[NDArray[Any], NDArray[Any]]]":
    """What happened and what was said of it, for the positive class or for each of many."""
    labels, said = (classes.numbers(count.evidence[name]) for name in ("label", "candidate"))
    if said.ndim == 1:
        yield labels, said
    else:
        yield from ((1.0 * (labels == place), said[:, place]) for place in range(said.shape[1]))


def _classes(count: Count) -> Iterator[str]:
    """Of every class how many rows there are, and the share of them that is taken for it."""
    asked = count.spec.gate.each_class
    if asked is None:
        return
    told = classes.found(*(classes.numbers(count.evidence[name]) for name in ("label", "candidate")))
    for each, (share, rows) in zip(count.spec.label.classes, told, strict=True):
        name = f"class {each} is found"
        if rows >= asked.minimum_rows:
            yield from arithmetic.stated(count.rules, name, asked.recall, share, count.close)
        elif name in count.rules and count.rules[name].decision is Decision.PASS:
            yield f"`{name}` passed on {rows:,} rows, {asked.minimum_rows:,} are needed"


def _gap_and_noise(
    labels: "NDArray[Any]", said: "NDArray[Any]", blocks: "NDArray[Any]", bins: int
) -> tuple[float, float]:
    """The mean gap over bins of equally many rows, and by how much drawing hours again makes it larger."""
    import numpy as np

    order = np.argsort(said, kind="stable")
    place = np.empty(len(order), dtype="int64")
    place[order] = np.repeat(np.arange(bins), [len(part) for part in np.array_split(order, bins)])
    draw, hours = np.random.default_rng(2), np.unique(blocks, return_inverse=True)[1]

    def gap(times: "NDArray[Any]") -> float:
        return float(abs(np.bincount(place, times * (said - labels), bins)).sum() / times.sum())

    raw, count = gap(np.ones(len(said))), int(hours.max()) + 1
    drawn = [gap(np.bincount(draw.integers(0, count, count), minlength=count)[hours]) for _ in range(DRAWS)]
    return raw, max(0.0, float(np.mean(drawn)) - raw)


def _fairness(count: Count, asked: Fairness) -> Iterator[str]:
    """The widest difference of a rate between groups that are large enough."""
    if asked.group not in count.held:
        return
    table = count.evidence.assign(group=count.held[asked.group].astype("object").map(str, na_action="ignore"))
    table["group"] = table["group"].fillna("missing")
    sizes = table["group"].value_counts()
    judged = table[table["group"].isin(sizes.index[sizes >= asked.minimum_rows])]
    widest = max(_spread(part) for part in _rates(count, asked, judged))
    name = f"fairness of {asked.group}: {asked.measure}"
    yield from arithmetic.stated(count.rules, name, asked.at_most, widest, count.close)


def _rates(count: Count, asked: Fairness, rows: "pd.DataFrame") -> "Iterator[pd.Series[Any]]":
    """Each rate the measure is of, by group."""
    if count.spec.task == "regression":
        yield abs(rows["label"] - rows["candidate"]).groupby(rows["group"]).mean()
        return
    wanted = {
        "demographic_parity_difference": (None,),
        "equal_opportunity_difference": (POSITIVES,),
        "equalized_odds_difference": (POSITIVES, NEGATIVES),
    }[asked.measure]
    for happened, decided in _decisions(count, rows):
        for label in wanted:
            among = happened == label if label is not None else happened.notna()
            yield decided[among].groupby(rows.loc[among, "group"]).mean()


def _decisions(count: Count, rows: "pd.DataFrame") -> "Iterator[tuple[pd.Series[Any], pd.Series[Any]]]":
    """What happened and what was decided, at the threshold or, of many classes, for each against the rest."""
    if count.spec.task != "multiclass":
        yield rows["label"], (rows["candidate"] >= count.spec.threshold).astype("float64")
        return
    taken = rows["candidate"].map(lambda said: int(list(said).index(max(said))))
    for place in range(len(count.spec.label.classes)):
        yield (rows["label"] == place).astype("float64"), (taken == place).astype("float64")


def _spread(rates: "pd.Series[Any]") -> float:
    return float(rates.max() - rates.min()) if len(rates) else 0.0
