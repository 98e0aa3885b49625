"""What a step read and wrote, from what it was asked and what it answered."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines import catalog
from pipelines.contracts import BatchState, TrainingSet
from pipelines.monitoring.drift.days import LAYER
from pipelines.record.openlineage import datasets
from pipelines.record.openlineage.datasets import Plain
from pipelines.stores import Stores
from pipelines.stores.feature_store.views import ViewVersion
from pipelines.stores.tracking.registry import CHAMPION
from pipelines.validation import reports


@dataclass(frozen=True)
class Lineage:
    """What a task's event says: datasets read, datasets written, and facets of the run by their keys."""

    inputs: list[Plain] = field(default_factory=list)
    outputs: list[Plain] = field(default_factory=list)
    run: dict[str, Plain] = field(default_factory=dict)


def told(step: str, asked: Sequence[Any], answer: Any, stores: Stores) -> Lineage:
    """What the step of this name read and wrote; nothing of one that only looks into the records."""
    of = STEPS.get(step)
    return of(asked, answer, stores) if of is not None else Lineage()


def _ingest(asked: Sequence[Any], results: Any, stores: Stores) -> Lineage:
    spec = catalog.dataset(asked[0])
    done = [r for r in results if r["digest"] and BatchState(r["state"]).ended]
    files = [_judged(datasets.landed(spec, r["name"], r["digest"], stores), r) for r in done]
    outputs = []
    if any(BatchState(r["state"]).taken for r in done):
        outputs.append(_wrote(datasets.silver(spec, stores), sum(r["silver"] for r in done)))
        outputs[0]["facets"] |= {"columnLineage": {"fields": _taken_over(spec, files, done)}}
    if bad := sum(r["quarantined"] for r in done):
        outputs.append(_wrote(datasets.table("quarantine", spec.name, stores), bad))
    return Lineage(files, outputs)


def _taken_over(spec: catalog.DatasetSpec, files: list[Plain], done: list[Any]) -> Plain:
    """Of each column of silver, the column of each file that was taken in."""
    taken = [f for f, r in zip(files, done, strict=True) if BatchState(r["state"]).taken]
    return {name: {"inputFields": [datasets.field(f, name) for f in taken]} for name in spec.columns}


def _judged(file: Plain, result: Any) -> Plain:
    """A file with its rows counted, and with what Great Expectations said of it."""
    facets: dict[str, Plain] = {"dataQualityMetrics": {"rowCount": result["parsed"], "columnMetrics": {}}}
    path = Path(result["report"]).with_suffix(".json") if result["report"] else None
    if path is not None and path.is_file():
        found = [_assertion(each) for each in json.loads(path.read_text())["expectations"]]
        facets |= {"dataQualityAssertions": {"assertions": found}} if found else {}
    return file | {"inputFacets": facets}


def _assertion(result: Any) -> Plain:
    """One expectation: whether it held, and for how many rows not; no value of a row."""
    columns, note, seen = reports.columns(result), reports.note(result), result["result"]
    said = {
        "assertion": result["expectation_config"]["type"],
        "success": result["success"],
        "severity": "warn" if reports.level(result) == "warn" else "error",
    }
    if len(columns) == 1:
        said["column"] = columns[0]
    if "unexpected_count" in seen:
        said["actual"] = f"{seen['unexpected_count']} of {seen.get('element_count', '?')} rows fail"
    return said | {"description": note} if note else said


def _features(_: Sequence[Any], run: Any, stores: Stores) -> Lineage:
    views = [_version(name, stores) for name in run["rows"]]
    read = sorted({source for version in views for source in version.sources})
    tables = [
        _wrote(datasets.view(version, stores, run["versions"].get(name)), run["rows"][name])
        for name, version in zip(run["rows"], views, strict=True)
    ]
    inputs = [datasets.silver(catalog.dataset(name), stores) for name in read]
    return Lineage(inputs, [*tables, *(datasets.online(version, stores) for version in views)])


def _version(name: str, stores: Stores) -> ViewVersion:
    view, _, number = name.partition("@v")
    return stores.features.version(view, int(number) if number else None)


def _training_set(_: Sequence[Any], answer: Any, stores: Stores) -> Lineage:
    rows = _rows(answer)
    sources = _sources(rows, stores)
    return Lineage(sources, [_wrote(datasets.training_set(rows, sources), rows.rows)])


def _rows(plain: Any) -> TrainingSet:
    return TrainingSet(**plain)


def _sources(rows: TrainingSet, stores: Stores) -> list[Plain]:
    """The tables of a training set, in its own order, each of the version that was read."""
    return [_source(name, at, stores) for name, at in rows.versions.items()]


def _source(name: str, at: int, stores: Stores) -> Plain:
    layer, _, rest = name.partition("/")
    if layer == "silver":
        return datasets.silver(catalog.dataset(rest), stores, at)
    view, _, number = rest.partition("/v")
    return datasets.view(stores.features.version(view, int(number)), stores, at)


def _train(asked: Sequence[Any], candidate: Any, stores: Stores) -> Lineage:
    made = datasets.model(catalog.model(asked[0]), candidate["version"], stores)
    tags = {"model_digest": candidate["digest"], "training_set": candidate["training_set"]}
    return Lineage([datasets.training_set(_rows(asked[1]), [])], [made], _tags(tags))


def _rebuild(asked: Sequence[Any], answer: Any, stores: Stores) -> Lineage:
    return Lineage(_sources(_rows(asked[1]), stores), run=_tags({"rebuilt": answer["kept"]}))


def _evaluate(asked: Sequence[Any], verdict: Any, stores: Stores) -> Lineage:
    spec = catalog.model(asked[0])
    inputs = [
        datasets.training_set(_rows(asked[2]), []),
        datasets.model(spec, verdict["version"], stores),
    ]
    if (reigning := verdict["champion_version"]) is not None:
        inputs.append(datasets.model(spec, reigning, stores, CHAMPION))
    said = {"verdict": verdict["decision"], "model_digest": verdict["digest"]}
    return Lineage(inputs, run={"test": {"tests": [_test(r) for r in verdict["rules"]]}, **_tags(said)})


def _test(rule: Any) -> Plain:
    """A rule of the gate; one that could not decide has not passed."""
    said = {
        "name": rule["name"],
        "status": "pass" if rule["decision"] == "PASS" else "fail",
        "severity": "error",
        "type": rule["kind"],
        "description": f"{rule['decision']}: {rule['explanation']}",
    }
    numbers = {"expected": rule["bound"], "actual": rule["value"]}
    return said | {name: str(value) for name, value in numbers.items() if value is not None}


def _report(asked: Sequence[Any], _: Any, stores: Stores) -> Lineage:
    model = datasets.model(catalog.model(asked[0]), asked[1], stores)
    return Lineage([datasets.training_set(_rows(asked[2]), []), model])


def _submit(asked: Sequence[Any], _: Any, stores: Stores) -> Lineage:
    return Lineage([datasets.model(catalog.model(asked[0]), asked[1]["version"], stores)])


def _promote(asked: Sequence[Any], answer: Any, stores: Stores) -> Lineage:
    spec = catalog.model(asked[0])
    champion = [datasets.model(spec, answer["champion_version"], stores, CHAMPION)]
    said = _tags({"promoted": answer["promoted"]})
    return Lineage([datasets.model(spec, asked[1], stores)], champion if answer["promoted"] else [], said)


def _monitor(asked: Sequence[Any], found: Any, stores: Stores) -> Lineage:
    spec = catalog.model(asked[0])
    champion = stores.tracking.version(spec.name, found["version"])
    views = [stores.features.version(*each) for each in champion.views.items()]
    tables = [
        datasets.silver(catalog.dataset(spec.label.dataset), stores),
        *(datasets.view(v, stores) for v in views),
    ]
    reigning = datasets.model(spec, found["version"], stores, CHAMPION)
    kept = (
        [datasets.table(LAYER, spec.name, stores)]
        if stores.tables.version(LAYER, spec.name) is not None
        else []
    )
    said = _tags({"drifted": found["drifted"], "decayed": found["decayed"]})
    return Lineage([*tables, reigning], kept, said)


def _archive(asked: Sequence[Any], moved: Any, stores: Stores) -> Lineage:
    counts = {"predictions": moved["answers"], "truths": moved["truths"]}
    tables = {kind: datasets.table(kind, asked[0], stores) for kind, count in counts.items() if count}
    return Lineage([], [_wrote(found, counts[kind]) for kind, found in tables.items()])


def _performance(asked: Sequence[Any], _: Any, stores: Stores) -> Lineage:
    return Lineage([datasets.silver(catalog.dataset(catalog.model(asked[0]).label.dataset), stores)])


def _score(asked: Sequence[Any], answers: Any, stores: Stores) -> Lineage:
    folder, spec = stores.settings.home / "scoring" / asked[0], catalog.model(asked[0])
    files = [datasets.named(str(folder / each["file"])) | {"facets": {}} for each in answers]
    models = [datasets.model(spec, version, stores) for version in sorted({a["version"] for a in answers})]
    added = sum(each["rows"] for each in answers if each["new"])
    return Lineage([*files, *models], [_wrote(datasets.table("scores", asked[0], stores), added)])


def _wrote(dataset: Plain, rows: int) -> Plain:
    return dataset | {"outputFacets": {"outputStatistics": {"rowCount": rows}}}


def _tags(said: dict[str, Any]) -> dict[str, Plain]:
    """Facts of a run that OpenLineage has no facet for."""
    known = {key: value for key, value in said.items() if value is not None}
    found = [{"key": f"evergreen_{key}", "value": str(v), "source": "EVERGREEN"} for key, v in known.items()]
    return {"tags": {"tags": found}}


STEPS: dict[str, Callable[[Sequence[Any], Any, Stores], Lineage]] = {
    "ingest": _ingest,
    "features": _features,
    "training_set": _training_set,
    "train": _train,
    "rebuild": _rebuild,
    "evaluate": _evaluate,
    "report": _report,
    "submit": _submit,
    "promote": _promote,
    "monitor": _monitor,
    "archive": _archive,
    "performance": _performance,
    "score": _score,
}
