"""Proves that no hostile model gets in: files that would run something, and deeds in the stores, at every way in."""

import logging
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pipelines.catalog import ModelSpec
from pipelines.contracts import Decision, EvergreenError, Say
from pipelines.gate import evaluate
from pipelines.gate.case import Case
from pipelines.gate.rules import serving
from pipelines.prove import Proof
from pipelines.prove.models.bench import NOW, Bench, opened
from pipelines.prove.models.hostile import File, does_harm, files, plant_elsewhere
from pipelines.prove.models.tampering import Deed, deeds
from pipelines.serving.metrics import Metrics
from pipelines.serving.predictor import Predictor
from pipelines.serving.schemas import example
from pipelines.serving.sources import OneByOne
from pipelines.stores.tracking.model_files import forget
from pipelines.stores.tracking.registry import CHAMPION

if TYPE_CHECKING:
    import pandas as pd

PROMISE = "No model gets in but those this deployment made: nothing runs what a file carries, nothing foreign answers."
QUESTIONS, LOADS = 5, 60


def prove(name: str, cases: int | None, say: Say) -> Proof:
    """Every hostile file and deed, or so many of them, and the honest model as control."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as scratch, _importable(Path(scratch) / "code"):
        folder = Path(scratch)
        canary = folder / "canary"
        logging.getLogger("evergreen.serving").setLevel(logging.CRITICAL)  # each refusal is in the table
        plant_elsewhere(folder / "code", canary)
        bench = opened(name, folder, say)
        trial = Trial(bench, canary)
        rows = [trial.control(), trial.race()]
        honest = bench.stores.tracking.file(bench.champion).read_bytes()
        if len({file.data for file in files(canary, honest)}) < len(list(files(canary, honest))):
            raise EvergreenError("two hostile files are the same; one of them proves nothing")
        hostile = _chosen([*(_planted(file) for file in files(canary, honest)), *deeds()], cases)
        for number, deed in enumerate(hostile):
            rows.append(trial.try_out(deed))
            say(f"{number + 1} of {len(hostile)}: {deed.name}")
        rows += _alive(
            [file for file in files(canary, honest) if file.live], folder, canary, trial.failures, cases
        )
        rows += [trial.control(), _counted(hostile, trial)]
    return Proof(PROMISE, rows, trial.failures)


class Trial:
    """One bench, a server that runs all the while, and what broke."""

    def __init__(self, bench: Bench, canary: Path) -> None:
        self.bench, self.canary = bench, canary
        self.failures: list[str] = []
        self.refused = self.healed = 0
        self.server = self._server()
        self.answer = self._says(self.server)

    def try_out(self, deed: Deed) -> dict[str, Any]:
        """Do it, try every way in, undo it: each must refuse in words, and the champion must go on answering."""
        said: dict[str, str | None] = {}
        number, undo = deed.do(self.bench)
        forget()
        try:
            said = {door: self._refusal(door, number) for door in deed.doors}
            healed = self._healed() if deed.healed else None
        finally:
            undo()
            self.bench.stores.tracking.set_alias(self.bench.spec.name, CHAMPION, self.bench.champion.version)
        open_doors = [door for door, refusal in said.items() if refusal is None]
        self._broken(deed, open_doors, healed)
        refusal = next(filter(None, (said.get("load"), *said.values())), "the right file was fetched again")
        self.refused += bool(said) and not open_doors
        self.healed += deed.healed and healed is None
        return {
            "kind": deed.kind,
            "case": deed.name,
            "refused by": ", ".join(door for door in said if door not in open_doors) or "-",
            "got in by": ", ".join(open_doors),
            "canary": "MADE" if self._made() else "no",
            "said": refusal[:80],
        }

    def control(self) -> dict[str, Any]:
        """The honest champion loads, is served after a restart, and passes the probe."""
        tracking, champion = self.bench.stores.tracking, self.bench.champion
        forget()
        tracking.load(champion.model, champion.version)
        started, failed = self._server(), self._probe(champion.version)
        if failed or self._says(started) != self.answer or not tracking.inputs(champion):
            self.failures.append(f"the honest champion does not get in: {failed or started.last_error}")
        return {"kind": "control", "case": "the honest champion", "got in by": "load, restart, probe"}

    def race(self) -> dict[str, Any]:
        """While the file is swapped back and forth, what is loaded is the honest model, or nothing."""
        bench, counts = self.bench, {"honest": 0, "refused": 0, "foreign": 0}
        path = bench.stores.tracking.file(bench.champion)
        with _flipping(path, bench.foreign):
            for _ in range(LOADS):
                forget()
                counts[self._loaded()] += 1
        if counts["foreign"] or counts["honest"] == 0:
            self.failures.append(f"the file was swapped between check and use: {counts}")
        return {"kind": "race", "case": f"the file swapped all the while, {LOADS} loads", "said": str(counts)}

    def _loaded(self) -> str:
        champion = self.bench.champion
        try:
            found = self.bench.stores.tracking.fitted(champion)
        except EvergreenError:
            return "refused"
        asked = self.bench.held[list(found.feature_names_in_)].head(20)
        return "honest" if (found.predict_proba(asked)[:, 1] == self._honest(asked)).all() else "foreign"

    def _honest(self, asked: "pd.DataFrame") -> Any:
        served = self.server.champion()
        return served.pipeline.predict_proba(asked)[:, 1]

    def _refusal(self, door: str, number: int) -> str | None:
        """How a way in refuses, in its words; None if it lets the version in."""
        ways: dict[str, Callable[[int], str | None]] = {
            "load": self._load, "serve": self._serve, "restart": self._restart, "gate": self._gate,
            "probe": self._probe, "baseline": self._baseline, "inputs": self._inputs,
        }  # fmt: skip
        try:
            return ways[door](number)
        except EvergreenError as error:
            return str(error)
        except Exception as error:
            self.failures.append(f"{door} broke over it: {type(error).__name__}: {str(error)[:200]}")
            return None

    def _load(self, number: int) -> None:
        self.bench.stores.tracking.load(self.bench.spec.name, number)

    def _baseline(self, number: int) -> None:
        self.bench.stores.tracking.load_baseline(self.bench.champion)

    def _inputs(self, number: int) -> None:
        self.bench.stores.tracking.inputs(self.bench.champion)

    def _serve(self, number: int) -> str | None:
        """The alias is set by hand; the server that runs keeps what it has."""
        self.bench.stores.tracking.set_alias(self.bench.spec.name, CHAMPION, number)
        self.server.retries.went()
        self.server.follow()
        if (
            self._says(self.server) != self.answer
            or self.server.champion().digest != self.bench.champion.digest
        ):
            return None
        untouched = "what is in memory answers on" if number == self.bench.champion.version else None
        return self.server.last_error or untouched

    def _restart(self, number: int) -> str | None:
        self.bench.stores.tracking.set_alias(self.bench.spec.name, CHAMPION, number)
        started = self._server()
        return started.last_error if started.served is None else None

    def _gate(self, number: int) -> str | None:
        bench = self.bench
        verdict = evaluate(bench.spec, bench.candidate(number), bench.rows, bench.stores, NOW)
        worst = next((r for r in verdict.rules if r.decision is verdict.decision), None)
        return (
            None
            if verdict.decision is Decision.PASS
            else f"{verdict.decision.value}: {worst and worst.explanation}"
        )

    def _probe(self, number: int) -> str | None:
        bench = self.bench
        version = bench.stores.tracking.version(bench.spec.name, number)
        case = Case(bench.spec, version, None, None, bench.held, bench.rows, bench.stores, NOW)
        seen = serving.probed(case, bench.held.head(QUESTIONS))
        if seen["failed"] and seen["phase"] == "starting":
            raise RuntimeError(f"the probe did not come so far as to load it: {seen['failed']}")
        return seen["failed"] or None

    def _healed(self) -> str | None:
        started = self._server()
        return None if started.served and self._says(started) == self.answer else str(started.last_error)

    def _server(self) -> Predictor:
        made = Predictor(self.bench.spec, self.bench.stores.tracking, _NoFeatures(), Metrics())
        made.follow()
        return made

    def _says(self, server: Predictor) -> float | None:
        """What a server answers to the spec's example; None if it has no model."""
        if server.served is None:
            return None
        asked = server.request_model.model_validate(example(self.bench.spec))
        return cast(float, server.ask(server.served, asked))

    def _made(self) -> bool:
        return self.canary.exists()

    def _broken(self, deed: Deed, open_doors: list[str], healed: str | None) -> None:
        if open_doors:
            self.failures.append(f"{deed.name}: let in by {', '.join(open_doors)}")
        if self._made():
            self.failures.append(f"{deed.name}: it ran, its canary was made")
        if healed is not None:
            self.failures.append(f"{deed.name}: the right file was not fetched again: {healed}")
        if self._says(self.server) != self.answer:
            self.failures.append(f"{deed.name}: the champion does not answer as before")


class _NoFeatures(OneByOne):
    """A feature store without a value."""

    def online(self, names: Any, *_: Any) -> Any:
        from pipelines.stores.feature_store.online_values import Online

        return Online(dict.fromkeys(names), {})

    def feature_names(self, spec: ModelSpec) -> list[str]:
        return []


def _planted(file: File) -> Deed:
    """A hostile file that somebody got signed and licensed by this deployment: only its content can give it away."""
    return Deed(
        file.name,
        lambda bench: (bench.register(file.data, bench.stores.keys).version, lambda: None),
        file.kind,
    )


def _counted(hostile: list[Deed], trial: Trial) -> dict[str, Any]:
    said = f"{trial.refused} refused, {trial.healed} undone by fetching the right file again"
    return {"kind": "in all", "case": f"{len(hostile)} hostile models", "said": said}


def _chosen(all_of_them: list[Deed], cases: int | None) -> list[Deed]:
    """So many, spread over all kinds."""
    if cases is None or cases >= len(all_of_them):
        return all_of_them
    step = len(all_of_them) / cases
    return [all_of_them[int(number * step)] for number in range(cases)]


def _alive(
    live: list[File], folder: Path, canary: Path, failures: list[str], cases: int | None
) -> Iterator[dict[str, Any]]:
    """The attacks are real: a program that trusts what a file says makes the canary."""
    tried = live if cases is None else live[: max(1, cases // 6)]
    harmless = [file.name for file in tried if not does_harm(file, folder, canary)]
    failures += [f"{name}: harmless also to who trusts it, so it proves nothing" for name in harmless]
    said = f"{len(tried) - len(harmless)} of {len(tried)} made their canary"
    yield {"kind": "control", "case": "the same files read by a program that trusts them", "said": said}


@contextmanager
def _flipping(path: Path, foreign: bytes) -> Iterator[None]:
    """A thread that puts the honest file and the foreign one in each other's place until told to stop."""
    honest, stop = path.read_bytes(), threading.Event()

    def flip() -> None:
        turn = 0
        while not stop.is_set():
            part = path.with_suffix(f".flip{turn % 2}")
            part.write_bytes(foreign if turn % 2 else honest)
            part.replace(path)
            turn += 1

    thread = threading.Thread(target=flip, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        path.write_bytes(honest)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Modules of the folder can be imported here and in processes that are started."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), before]))
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
