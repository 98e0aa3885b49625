"""A deployment lives through the script: each step is the scheduler's, and a life that was cut off goes on."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import BatchState, EvergreenError, NothingToDo, Say
from pipelines.loop import steps
from pipelines.monitoring.policy import Woken
from pipelines.places import whole
from pipelines.prove.year.story import Script, Year, asked_of, midnight
from pipelines.prove.year.traffic import Traffic, traffic
from pipelines.stores import Stores


class Diary:
    """How far a life has come, in one file of its home; written anew after each step."""

    def __init__(self, path: Path, script: Script) -> None:
        self._path = path
        begun: dict[str, Any] = {"script": script.plain(), "done": None, "pending": {}, "retrainings": [],
                                 "refused": [], "watched": [], "seconds": {}}  # fmt: skip
        self.kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else begun
        self._agree(script)

    def _agree(self, script: Script) -> None:
        """A life that has not come to its last day may have another; all else is as it began."""
        begun, now = self.kept["script"], script.plain()
        if {**begun, "end": ""} != {**now, "end": ""}:
            raise EvergreenError(
                f"{self._path} tells of another script; repeat its options, or name another --home"
            )
        last = midnight(min(date.fromisoformat(begun["end"]), script.end)) + timedelta(days=1)
        if begun != now and self.done is not None and self.done >= last:
            raise EvergreenError(
                f"{self._path} has come to {self.done:%Y-%m-%d %H:%M}, which is beyond its last day; name a later --to,"
                " or another --home"
            )
        self.kept["script"] = now

    def write(self) -> None:
        with whole(self._path) as part:
            part.write_text(json.dumps(self.kept, indent=1))

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """The seconds inside count as spent on this."""
        begun = time.monotonic()
        try:
            yield
        finally:
            seconds = self.kept["seconds"]
            seconds[what] = seconds.get(what, 0.0) + time.monotonic() - begun

    @property
    def done(self) -> datetime | None:
        return steps.moment(self.kept["done"])


class Life:
    """One deployment that lives through a script."""

    def __init__(self, spec: ModelSpec, script: Script, stores: Stores, say: Say) -> None:
        self.spec, self.script, self.stores, self.say = spec, script, stores, say
        self.year = Year(spec, script)
        self.diary = Diary(stores.settings.home / "year.json", script)

    def lived(self) -> None:
        """Every moment that is still to come, in order; then what is told afterwards."""
        moments = [m for m in self.script.moments if self.diary.done is None or m > self.diary.done]
        with traffic(self.spec, self.stores) as clients:
            for number, moment in enumerate(moments):
                asked = self._moment(moment, clients)
                if number == 0:  # it may have been the opening, which takes longer than all that follow
                    begun = time.monotonic()
                left = len(moments) - number - 1
                minutes = (time.monotonic() - begun) / max(number, 1) * left / 60
                about = f"{left:,} moments left" + (f", about {minutes:.0f} min" if number else "")
                self.say(
                    f"{moment:%Y-%m-%d %H:%M}: {asked:,} questions, version {self._champion()} answers; {about}"
                )
        self._take_in(self.script.told)
        self.diary.write()

    def _moment(self, moment: datetime, clients: Traffic) -> int:
        """What happens at a moment; how many questions were asked."""
        self._take_in(moment)
        with self.diary.timed("features"):
            steps.all_computed(steps.features(moment.isoformat(), say=self._opening()))
        woken = self._woken(moment)
        if woken:
            with self.diary.timed("retraining"):
                self._retrain(moment, woken)
        with self.diary.timed("questions"):
            clients.follows(self._champion())
            asked = self._ask(moment, clients)
        self.diary.kept["done"] = moment.isoformat()
        self.diary.write()
        return asked

    def _champion(self) -> int:
        """The version that serves; EvergreenError if the first one did not pass its gate."""
        found = self.stores.tracking.champion(self.spec.name)
        if found is None:
            why = self.diary.kept["retrainings"][-1:] or "nothing was trained"
            raise EvergreenError(f"there is no champion to begin with: {why}")
        return int(found.version)

    def _take_in(self, moment: datetime) -> None:
        """What became known since the moment before lands, and is ingested."""
        done = self.diary.done
        with self.diary.timed("landing"):
            names = [*self.year.land(done, moment, self.stores.settings.landing_path)]
        with self.diary.timed("ingestion"):
            for name in names:
                for each in steps.ingest(name):
                    if not BatchState(each["state"]).taken:
                        self.diary.kept["refused"].append(f"{each['name']}: {each['reason']}")

    def _woken(self, moment: datetime) -> Woken | None:
        """What wakes the retraining now: a person at first, then drift or decay, or the schedule; or what was begun."""
        if self.diary.done is None:
            return Woken.PERSON
        if self.diary.kept["pending"]:
            return Woken.SCHEDULE
        if self._due(moment, self.script.watch):
            with self.diary.timed("monitoring"):
                found = steps.monitor(self.spec.name, moment.isoformat(), now=moment.isoformat())
            self.diary.kept["watched"].append([moment.isoformat(), found["explanation"]])
            if found["drifted"] or found["decayed"]:
                return Woken.MONITOR
        return Woken.SCHEDULE if self._due(moment, self.script.sweep) else None

    def _opening(self) -> Say:
        """Who is told how far the features have come: at first that takes minutes, later it is soon done."""
        return self.say if self.diary.done is None else lambda _: None

    def _due(self, moment: datetime, period: timedelta) -> bool:
        """Whether one more whole period has passed since the moment before."""
        before, now = ((each - self.script.begin) // period for each in (self.diary.done or moment, moment))
        return now > before

    def _retrain(self, moment: datetime, woken: Woken) -> None:
        """As the DAG has it: plan, rows, train, make again, judge, promote; what was done before a kill stays done."""
        name, now, done = self.spec.name, moment.isoformat(), self.diary.kept["pending"]
        try:
            plan = self._once(
                "plan", partial(steps.plan, name, now, now=now, woken=woken, reason="the beginning")
            )
        except NothingToDo as nothing:
            self._note({"moment": now, "woken": woken, "trained": None, "why": str(nothing)})
            return
        rows = self._once("rows", partial(steps.training_set, name, now))
        made = self._once("candidate", partial(steps.train, name, rows, plan, now))
        if self.spec.gate.rebuild:
            self._once("rebuilt", partial(steps.rebuild, name, rows))
        verdict = self._once("verdict", partial(steps.evaluate, name, made, rows, now=now))
        answer = self._once("answer", partial(steps.promote, name, made["version"], now=now))
        champion = self.stores.tracking.champion(name)
        done.clear()
        self._note(
            {
                "moment": now,
                "woken": woken,
                "trained": made["version"],
                "causes": [each["cause"] for each in plan["reasons"]],
                "details": [each["detail"] for each in plan["reasons"]],
                "decision": verdict["decision"],
                "rules": [
                    f"{r['name']}: {r['explanation']}" for r in verdict["rules"] if r["decision"] != "PASS"
                ],
                "promoted": champion is not None and champion.version == made["version"],
                "reason": answer["reason"],
            }
        )

    def _note(self, retraining: dict[str, Any]) -> None:
        """Keep what became of a wish to train, and tell it."""
        self.diary.kept["retrainings"].append(retraining)
        self.diary.write()
        self.say(told(retraining))

    def _once(self, name: str, step: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """A step's answer, kept until the retraining is over."""
        done = self.diary.kept["pending"]
        if name not in done:
            done[name] = step()
            self.diary.write()
        return dict(done[name])

    def _ask(self, moment: datetime, clients: Traffic) -> int:
        """The moment's questions that the log does not hold already; how many there are in all."""
        bodies, soon = self.year.questions(moment), moment + self.spec.label.horizon
        logged = self.stores.predictions.between(
            self.spec.name, soon - timedelta(days=1), soon + self.script.window
        )
        answered = {asked_of(each) for each in logged}
        clients.ask([body for body in bodies if asked_of(body) not in answered])
        return len(bodies)


def told(retraining: dict[str, Any]) -> str:
    """What became of a wish to train, in a line."""
    when, version = retraining["moment"][:16].replace("T", " "), retraining["trained"]
    if not version:
        return f"{when}: nothing was trained: {retraining['why']}"
    ended = "promoted" if retraining["promoted"] else "; ".join([*retraining["rules"], retraining["reason"]])
    return f"{when}: version {version} ({', '.join(retraining['causes'])}): {retraining['decision']}, {ended[:300]}"
