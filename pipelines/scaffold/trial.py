"""A model taken once through the whole loop, in one process and a scratch home: what a person wants to see first."""

import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines import catalog
from pipelines.catalog import DatasetSpec, ModelSpec
from pipelines.contracts import EvergreenError, Say
from pipelines.scaffold.data.answers import literal
from pipelines.settings import PROJECT, scratch
from pipelines.stores import Stores


def run(name: str, most: int, home: Path | None, places: tuple[Path, Path], say: Say) -> dict[str, Any]:
    """Verdict, metrics, rules that did not pass, one answer, and the steps with their seconds.

    For each dataset `most` rows are taken of what lies in `places`, the landing folder and the archive, or of the
    model's sample. Without a home a temporary one is kept, for the page of the verdict lies in it.
    """
    spec = catalog.model(name)
    place = home or Path(tempfile.mkdtemp(prefix=f"evergreen-try-{name}-"))
    if home is not None and (home / "evergreen.db").exists():
        raise EvergreenError(f"{home} is a home with a past; name a new folder with --home, or leave it out")
    with scratch(place):
        return Trial(spec, most, places, say).run()


class Trial:
    """The steps in their order, each told of as it ends."""

    def __init__(self, spec: ModelSpec, most: int, places: tuple[Path, Path], say: Say) -> None:
        self.spec, self.most, self.places, self.say = spec, most, places, say
        self.steps: list[dict[str, Any]] = []

    def run(self) -> dict[str, Any]:
        from pipelines.loop import steps

        shared = steps.stores()
        for dataset in dict.fromkeys([*self.spec.datasets, self.spec.label.dataset]):
            self._take_in(catalog.dataset(dataset), shared)
        with self._step("features") as said:
            found = steps.features(say=lambda _: None)["rows"] if self.spec.features else {}
            said.append(", ".join(f"{view}: {rows:,} rows" for view, rows in found.items() if rows) or "none")
        planned, rows = self._asked()
        candidate = self._trained(rows, planned)
        verdict = self._judged(candidate, rows)
        passed = verdict["decision"] == "PASS"
        answer = self._served(shared) if passed else None
        failed = [rule for rule in verdict["rules"] if rule["decision"] != "PASS"]
        return {
            "model": self.spec.name, "decision": verdict["decision"], "failed": failed, "metrics": verdict["metrics"],
            "answer": answer, "steps": self.steps, "page": _page(self.spec.name, candidate["version"], shared),
            "home": str(shared.settings.home), "training_set": rows,
        }  # fmt: skip

    def _take_in(self, dataset: DatasetSpec, shared: Stores) -> None:
        from pipelines.loop import steps

        with self._step(f"land {dataset.name}") as said:
            said.append(f"{_landed(dataset, self.spec, self.places, self.most, shared):,} rows")
        with self._step(f"ingest {dataset.name}") as said:
            results = steps.ingest(dataset.name)
            said += [f"{r['silver']:,} rows in, {r['quarantined']:,} set aside" for r in results]
        refused = [r for r in results if r["state"] == "refused"]
        if refused or not any(r["silver"] for r in results):
            why = refused[0]["reason"] if refused else "no row of it came in"
            raise EvergreenError(f"{dataset.name}: the file was refused: {why}")

    def _asked(self) -> tuple[dict[str, Any], dict[str, Any]]:
        from pipelines.loop import steps

        with self._step("training set") as said:
            planned = steps.plan(self.spec.name, force=True, reason="a trial")
            rows = steps.training_set(self.spec.name, planned["as_of"])
            said.append(f"{rows['rows']:,} rows to learn from, {rows['holdout_rows']:,} held out")
        return planned, rows

    def _trained(self, rows: dict[str, Any], planned: dict[str, Any]) -> dict[str, Any]:
        from pipelines.loop import steps

        with self._step("train") as said:
            candidate = steps.train(self.spec.name, rows, planned)
            said.append(f"version {candidate['version']}, digest {candidate['digest'][:12]}")
        return candidate

    def _judged(self, candidate: dict[str, Any], rows: dict[str, Any]) -> dict[str, Any]:
        from pipelines.loop import steps

        with self._step("evaluate") as said:
            verdict = steps.evaluate(self.spec.name, candidate, rows)
            passed = sum(rule["decision"] == "PASS" for rule in verdict["rules"])
            said.append(f"{verdict['decision']}: {passed} of {len(verdict['rules'])} rules")
        with self._step("report") as said:
            said.append(steps.report(self.spec.name, candidate["version"], rows)["card"])
        return verdict

    def _served(self, shared: Stores) -> float | dict[str, float]:
        """Promoted, asked the spec's example by serving's own predictor, and watched."""
        from pipelines.loop import steps
        from pipelines.stores.tracking.registry import CHAMPION

        with self._step("promote") as said:
            steps.promote(self.spec.name, steps.newest(self.spec.name))
            found = shared.tracking.aliased(self.spec.name, CHAMPION)
            said.append(f"champion is version {found.version if found else 'none'}")
        with self._step("serve") as said:
            answer = _answer(self.spec, shared)
            said.append(f"the example of spec.yaml is answered {_shown(answer)}")
        with self._step("monitor") as said, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Evidently imports has much to say to its own authors
            said.append(steps.monitor(self.spec.name)["explanation"])
        return answer

    @contextmanager
    def _step(self, name: str) -> Iterator[list[str]]:
        begun, said = time.monotonic(), list[str]()
        yield said
        seconds = time.monotonic() - begun
        self.steps.append({"step": name, "seconds": seconds, "said": "; ".join(said)})
        self.say(f"{name}: {'; '.join(said)} ({seconds:.1f} s)")


def _page(model: str, version: int, shared: Stores) -> str:
    from pipelines.gate import record

    return str(record.path_of(model, version, shared).with_suffix(".html"))


def _answer(spec: ModelSpec, shared: Stores) -> float | dict[str, float]:
    from pipelines.serving.metrics import Metrics
    from pipelines.serving.predictor import Predictor
    from pipelines.serving.schemas import example

    predictor = Predictor(spec, shared.tracking, shared.features, Metrics())
    predictor.follow()
    served = predictor.champion()
    asked = predictor.request_model.model_validate(example(spec))
    said = predictor.ask(served, asked)
    return dict(zip(map(str, served.classes), said, strict=True)) if isinstance(said, list) else said


def _shown(answer: float | dict[str, float]) -> str:
    if not isinstance(answer, dict):
        return f"{answer:.4g}"
    best = max(answer, key=answer.__getitem__)
    return f"{best} at {answer[best]:.4g}"


def _landed(
    dataset: DatasetSpec, spec: ModelSpec, places: tuple[Path, Path], most: int, shared: Stores
) -> int:
    """A sample of what has landed, as one file in the scratch home's landing folder; how many rows it has.

    Whole histories are kept where rows have a key, as many as fit; else rows are drawn at random, over all the time.
    """
    import duckdb

    files, kind = landed(dataset, spec, places)
    target = shared.settings.landing_path / f"{dataset.pattern.replace('*', 'trial')}.{kind}"
    target.parent.mkdir(parents=True, exist_ok=True)
    options = ", all_varchar = true, header = true" if kind == "csv" else ""
    listed = ", ".join(literal(str(file)) for file in files)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            f"create view landed as select * from read_{kind}([{listed}], union_by_name = true{options})"
        )
        chosen = _chosen(dataset, spec, most, connection)
        connection.execute(f"create table sampled as {chosen}")
        connection.execute(f"copy sampled to {literal(str(target))} (format {kind})")
        found = connection.execute("select count(*) from sampled").fetchone()
    return int(found[0]) if found else 0


def landed(dataset: DatasetSpec, spec: ModelSpec, places: tuple[Path, Path]) -> tuple[list[Path], str]:
    """The dataset's files where they landed or were archived, else the model's sample; Parquet before CSV."""
    landing, archive = places
    files = [*sorted(landing.glob(dataset.pattern)), *sorted((archive / dataset.name).glob("*"))]
    there = [path for path in files if path.is_file()]
    sample = PROJECT / "tests" / "models" / spec.name / "sample.parquet"
    for kind, found in (
        ("parquet", [path for path in there if path.suffix == ".parquet"]),
        ("csv", [path for path in there if path.name.endswith((".csv", ".csv.gz"))]),
        ("parquet", [sample] if sample.exists() and dataset.name == spec.label.dataset else []),
    ):
        if found:
            return found, kind
    raise EvergreenError(
        f"no file of {dataset.name} (`{dataset.pattern}`) lies in {places[0]} or was ingested; land one, as"
        " `evergreen new` does"
    )


def _chosen(dataset: DatasetSpec, spec: ModelSpec, most: int, connection: Any) -> str:
    keys = [name for name in spec.entities if name in dataset.columns]
    by = ", ".join(f'"{name}"' for name in keys or dataset.key)
    total, largest = connection.execute(
        f"select sum(n), max(n) from (select count(*) as n from landed group by {by})"
    ).fetchone()
    if total <= most:
        return "select * from landed"
    if keys and largest <= most / 5:
        counted = f"select {by}, count(*) as n from landed group by all"
        running = f"select {by}, sum(n) over (order by hash({by})) as upto from ({counted})"
        return (
            f"select l.* from landed l join (select {by} from ({running}) where upto <= {most}) using ({by})"
        )
    drawn = ", ".join(f'"{name}"' for name in dataset.key)
    return f"select * from landed order by hash({drawn}) limit {most}"
