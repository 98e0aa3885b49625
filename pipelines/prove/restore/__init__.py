"""A deployment is backed up while it works and restored elsewhere, with both killed at random points."""

import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

from pipelines.backup import restoring, taking
from pipelines.catalog import dataset
from pipelines.contracts import EvergreenError, Say
from pipelines.ingestion.ingest import ingest_dataset
from pipelines.loop.replay import replay
from pipelines.prove import Proof, forks
from pipelines.prove.ingestion import scratch
from pipelines.prove.promotion import world
from pipelines.record.verification import verify
from pipelines.stores import Stores

PROMISE = (
    "A backup of a working deployment makes it again elsewhere, whole; one that was cut off is never believed"
)
DATASETS = ("flights", "departures")
DAY = date(2013, 1, 1)
LATER = timedelta(hours=1)
PATIENCE = 600
ENOUGH = 10
"""So many kills at random moments meet what they are to interrupt."""


def prove(files: int, kills: int, questions: int, seed: int, say: Say) -> Proof:
    """So many files are taken in while it is backed up; backup and restore are killed so often each."""
    with scratch() as folder:
        scene = Scene(folder, Random(seed), say)  # noqa: S311 - the same seed kills at the same points
        scene.build(files)
        rows = [scene.killed_backups(kills), scene.backup_at_work()]
        rows += [scene.killed_restores(kills), scene.compared(questions)]
        return Proof(PROMISE, rows, scene.failures)


class Scene:
    """A deployment `here`, its backup `kept`, and the home `there` in which it is made again."""

    def __init__(self, folder: Path, random: Random, say: Say) -> None:
        self.here, self.kept, self.there = folder / "here", folder / "kept", folder / "else" / "where"
        self.random, self.say = random, say
        self.failures: list[str] = []

    def build(self, files: int) -> None:
        """A champion, and files that wait in a folder beside."""
        spec, stores = world.tiny(), world.opened(self.here)
        made = world._trained(spec, stores, "a", 0)
        world._crowned(spec, stores, made, 0)
        self.asked = made[1].path
        every = (
            path for path in replay(spec.name, DAY, DAY + timedelta(days=2), "1h", self.here.parent / "wait")
        )
        self.waiting = [path for path in every if path.name.startswith(DATASETS)][:files]
        self.say(f"a champion, and {len(self.waiting)} files to take in")

    def killed_backups(self, kills: int) -> dict[str, Any]:
        """Whatever a killed backup leaves is refused, or is a whole one; an earlier one beside it stays whole."""
        self._land(self.waiting[: len(self.waiting) // 2])
        _take_in(world.opened(self.here))
        self._whole(_backup, self.here, self.kept)  # starts what every later process is forked from
        refused = 0
        for number in range(kills):
            alone = number % 2 == 0
            shutil.rmtree(self.kept, ignore_errors=True)
            took = self._whole(_backup, self.here, self.kept)
            if alone:
                shutil.rmtree(self.kept)
            self._killed(took, _backup, self.here, self.kept)
            left = not self._refused_or_whole(f"backup {number + 1}")
            refused += not left
            if not alone and not left:
                self.failures.append(f"backup {number + 1} was killed and took the one before along")
        if kills >= ENOUGH and not refused:
            self.failures.append(f"of {kills} kills none met a backup at work")
        shutil.rmtree(self.kept, ignore_errors=True)
        return {
            "tried": "backups killed, every other one beside an earlier one",
            "times": kills,
            "outcome": f"{refused} refused, {kills - refused} whole",
        }

    def _refused_or_whole(self, what: str) -> bool:
        try:
            restoring.check(self.kept, None, world.opened(self.there.parent / "none").settings, _quiet)
        except EvergreenError as error:
            if not any(said in str(error) for said in ("no complete backup", "is no folder")):
                self.failures.append(f"{what} was killed and left what is called a backup: {error}")
            return True
        return False

    def backup_at_work(self) -> dict[str, Any]:
        """The backup that counts, while the other half of the files is taken in."""
        self._land(self.waiting[len(self.waiting) // 2 :])
        worker = forks.start(_ingest, self.here)
        took = self._whole(_backup, self.here, self.kept)
        worker.join(PATIENCE)
        known = restoring.check(self.kept, None, world.opened(self.there.parent / "none").settings, _quiet)[1]
        said = f"{len(known.files)} files, {known.size / 1e6:.1f} MB in {took:.1f} s"
        return {"tried": "backup during ingestion", "times": 1, "outcome": said}

    def killed_restores(self, kills: int) -> dict[str, Any]:
        """Nobody opens what a killed restore leaves, until one ran to its end."""
        took = self._whole(_restore, self.kept, self.there)
        refused = whole = 0
        for number in range(kills):
            shutil.rmtree(self.there, ignore_errors=True)
            self._killed(took, _restore, self.kept, self.there)
            if not (self.there / "evergreen.db").exists() and not self.there.exists():
                refused += 1
                continue
            try:
                found = verify(world.opened(self.there), datetime.now(UTC) + LATER)
                whole += 1
                self.failures += [
                    f"restore {number + 1} was killed and believed: {each}" for each in found[:1]
                ]
            except EvergreenError as error:
                refused += "half restored" in str(error)
            self._whole(_restore_again, self.kept, self.there)
        if refused + whole != kills:
            self.failures.append(f"{kills - refused - whole} killed restores were neither refused nor whole")
        if not self.there.exists():
            self._whole(_restore, self.kept, self.there)
        return {"tried": "restores killed", "times": kills, "outcome": f"{refused} refused, {whole} whole"}

    def compared(self, questions: int) -> dict[str, Any]:
        """Once both have taken in what landed, they hold the same rows and answer the same bits."""
        one, two = (world.opened(home) for home in (self.here, self.there))
        rows = 0
        for stores in (one, two):
            _take_in(stores)
            self.failures += [
                f"{stores.settings.home.name}: {each}" for each in verify(stores, datetime.now(UTC) + LATER)
            ]
        for name in DATASETS:
            mine, theirs = _rows(one, name), _rows(two, name)
            rows += len(mine)
            if mine != theirs:
                self.failures.append(
                    f"silver of {name}: {len(mine):,} rows here, {len(theirs):,} there, or others"
                )
        different = _different(one, two, self.asked, questions)
        if different or not rows:
            self.failures.append(
                f"{different} of {questions} questions were answered otherwise; {rows} rows compared"
            )
        return {
            "tried": "compared",
            "times": questions,
            "outcome": f"{rows:,} rows and {questions:,} answers equal",
        }

    def _land(self, paths: list[Path]) -> None:
        landing = self.here / "landing"
        landing.mkdir(parents=True, exist_ok=True)
        for path in paths:
            path.replace(landing / path.name)

    def _whole(self, work: Callable[..., None], *arguments: Path) -> float:
        begun, process = monotonic(), forks.start(work, *arguments)
        process.join(PATIENCE)
        if process.exitcode:
            raise EvergreenError(f"nothing can be proved: {work.__name__} failed although nobody killed it")
        return monotonic() - begun

    def _killed(self, took: float, work: Callable[..., None], *arguments: Path) -> None:
        process = forks.start(work, *arguments)
        process.join(self.random.uniform(0, took))
        process.kill()
        process.join()


def _backup(home: Path, to: Path) -> None:
    taking.backup(world.opened(home), to, _quiet)


def _restore(source: Path, home: Path) -> None:
    restoring.restore(source, None, _settings(home), "prove", _quiet)


def _restore_again(source: Path, home: Path) -> None:
    """As a person would: there is nothing to do where the killed one had come to its end."""
    try:
        _restore(source, home)
    except EvergreenError as error:
        if "is not empty" not in str(error):
            raise


def _settings(home: Path) -> Any:
    """As `world.opened`, of a home that no store may open yet."""
    return world.opened(home.parent / "none").settings.model_copy(
        update={"home": home} | world.databases(home)
    )


def _ingest(home: Path) -> None:
    _take_in(world.opened(home))


def _take_in(stores: Stores) -> None:
    for name in DATASETS:
        ingest_dataset(dataset(name), stores)


def _rows(stores: Stores, name: str) -> list[str]:
    table = stores.tables.silver(dataset(name)).to_table()
    return sorted(repr(row) for row in table.to_pylist())


def _different(one: Stores, two: Stores, asked: str, questions: int) -> int:
    import pandas as pd

    rows = pd.read_parquet(asked).head(questions)
    said = []
    for stores in (one, two):
        champion = stores.tracking.champion(world.NAME)
        if champion is None:
            return questions
        fitted = stores.tracking.load(world.NAME, champion.version)
        said.append(fitted.predict_proba(rows[list(fitted.feature_names_in_)]).tolist())
    return sum(mine != theirs for mine, theirs in zip(*said, strict=True))


def _quiet(_: str) -> None:
    """Processes that are to be killed say nothing."""
