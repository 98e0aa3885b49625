"""Every number that is told of the loop: its name, what it means and its labels."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


class Sample(NamedTuple):
    """One value of a number; labels in the order in which NUMBERS names them."""

    name: str
    labels: tuple[str, ...]
    value: float


class Number(NamedTuple):
    """What a number means; a counter only ever grows, and its name gets `_total`."""

    text: str
    labels: tuple[str, ...] = ()
    counter: bool = False


OF_DATASET, OF_MODEL, OF_VERSION = ("dataset",), ("model",), ("model", "version")
NUMBERS: Mapping[str, Number] = {
    "dataset_newest_timestamp_seconds": Number("when the newest row in silver was known", OF_DATASET),
    "dataset_arrived_timestamp_seconds": Number("when the last file that was taken in arrived", OF_DATASET),
    "dataset_patience_seconds": Number(
        "how late it may be before a model goes on without it; the least of its models, of data that grows",
        OF_DATASET,
    ),
    "dataset_rows": Number("rows by where they are: silver, quarantined, superseded", ("dataset", "place")),
    "dataset_files": Number(
        "files by state: seen and claimed wait, refused, committed, archived", ("dataset", "state")
    ),
    "dataset_unopened_files": Number(
        "entries of the landing folder that were never opened; an empty dataset: no dataset's", OF_DATASET
    ),
    "view_known_timestamp_seconds": Number("the moment up to which it is computed", ("view", "version")),
    "view_behind_seconds": Number(
        "how far it is behind the newest rows of its own datasets", ("view", "version")
    ),
    "model_champion_version": Number("the version the registry calls champion, 0 for none", OF_MODEL),
    "model_champion_known_timestamp_seconds": Number("up to when its champion knows the past", OF_VERSION),
    "model_champion_since_timestamp_seconds": Number("when its champion became that", OF_VERSION),
    "model_verdicts": Number("what the gate said: PASS, FAIL, INCONCLUSIVE", ("model", "verdict"), True),
    "model_last_verdict": Number(
        "1 for what the gate said last, 0 for what it did not", ("model", "verdict")
    ),
    "model_judged_timestamp_seconds": Number("when the gate judged last", OF_MODEL),
    "model_moves": Number("changes of champion: promote, rollback", ("model", "action"), True),
    "model_answered_timestamp_seconds": Number("when it answered last", OF_MODEL),
    "trainings": Number("trainings that were planned, began, ended", ("model", "step"), True),
    "trainings_open": Number("trainings that began last and did not end: they run or were cut off", OF_MODEL),
    "training_began_timestamp_seconds": Number("when a training began last", OF_MODEL),
    "training_ended_timestamp_seconds": Number("when a training ended last", OF_MODEL),
    "signals_open": Number("signals that no training answers yet: drift, decay", ("model", "cause")),
    "drift_share": Number("share of the input columns that moved, 0 to 1, by the last report", OF_VERSION),
    "drift_threshold": Number("the share from which on a training is asked for, by spec.yaml", OF_MODEL),
    "drifted": Number("1 if the last report calls it drift", OF_VERSION),
    "decayed": Number("1 if the last report says that the champion decayed", OF_VERSION),
    "watched_timestamp_seconds": Number("when the last report was written", OF_MODEL),
    "scrape_error": Number("1 if these records could not be read; what else there is was told", ("what",)),
    "scrape_seconds": Number("what reading these records took", ("what",)),
}
"""By name, without the `evergreen_` in front."""


def families(samples: Iterable[Sample]) -> Iterator[Metric]:
    """Every number with its values, those without a value too."""
    made = {name: _family(name, number) for name, number in NUMBERS.items()}
    for sample in samples:
        made[sample.name].add_metric(sample.labels, sample.value)
    yield from made.values()


def _family(name: str, number: Number) -> GaugeMetricFamily | CounterMetricFamily:
    kind = CounterMetricFamily if number.counter else GaugeMetricFamily
    return kind(f"evergreen_{name}", number.text, labels=number.labels)
