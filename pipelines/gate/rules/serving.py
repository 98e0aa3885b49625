"""The candidate where it will serve: loaded and asked by serving's own code, in a process of its own.

That process needs no licence, may hang, crash or eat memory, and is ended by the kernel when it does.
"""

import json
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import SecretStr

from pipelines.contracts import Decision, EvergreenError, Kind, Rule, as_json
from pipelines.gate.case import Case, fact
from pipelines.gate.probes import START, Asking
from pipelines.processes import processors
from pipelines.training.answers import apart as furthest

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

CLOSE = 1e-12
"""One row and many may go through different arithmetic; further apart than this they are different answers."""


def check(case: Case) -> list[Rule]:
    """It loads, answers fast enough, small enough, and says there what it said to the gate."""
    ahead, case.probe = case.probe, None
    try:
        with ahead or Probing(case, _questions(case)) as probing:
            seen = probing.seen()
    except OSError as error:
        why = f"the probe could not be started: {error}"
        return [Rule("serves: loads and answers", Decision.INCONCLUSIVE, why)]
    first = fact("serves: loads and answers", not seen["failed"], _story(seen), seen["failed"])
    return [first, *_costs(case, seen), *_answers(case, seen, probing.rows)]


@contextmanager
def beside(case: Case) -> Iterator[None]:
    """Within, the probe runs beside the gate's other work, where there is a processor for each; then it is ended."""
    with ExitStack() as stack:
        if len(processors()) > 1:
            with suppress(OSError):  # `check` tries again, and says so
                case.probe = stack.enter_context(Probing(case, _questions(case)))
        yield


def probed(case: Case, rows: "pd.DataFrame") -> dict[str, Any]:
    """What the probe saw, and `failed`: why it did not come to its end, empty if it did."""
    with Probing(case, rows) as probing:
        return probing.seen()


class Probing:
    """A probe that was asked for, and the folder in which its questions, its log and what it saw lie."""

    def __init__(self, case: Case, rows: "pd.DataFrame") -> None:
        self.rows = rows
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            questions, self._out, self._log = (folder / n for n in ("questions.parquet", "seen.json", "log"))
            rows.to_parquet(questions)
            version = str(case.version.version)
            words = [case.spec.name, version, str(questions), str(self._out), "--given"]
            log = stack.enter_context(self._log.open("wb")).fileno()
            self._asking = stack.enter_context(Asking(words, _given(case), log, _longest(case)))
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def seen(self) -> dict[str, Any]:
        """What it saw, and `failed`, once it ended."""
        code = self._asking.code()
        seen = (
            json.loads(self._out.read_text()) if self._out.exists() else {"phase": "starting", "errors": []}
        )
        return seen | {"failed": _failed(code, seen, self._log.read_text(errors="replace"))}


def _questions(case: Case) -> "pd.DataFrame":
    """Held-out rows, spread evenly over the hold-out."""
    import numpy as np

    count = min(case.spec.gate.serving.questions, len(case.held))
    chosen = np.unique(np.linspace(0, len(case.held) - 1, count).astype(int))
    return case.held.iloc[chosen]


def _longest(case: Case) -> float:
    """The probe ends by itself long before, unless it is stopped from doing so."""
    limits = case.spec.gate.serving
    return START + limits.load_seconds + limits.questions * max(1.0, 2 * limits.p99_ms / 1e3)


def _given(case: Case) -> str:
    """Settings, spec and version for standard input; secrets go neither into arguments nor into the environment.

    Of the gate it gets what bounds it, and nothing of how the model was found.
    """
    spec = case.spec.model_dump(by_alias=True, exclude={"search", "parameters", *_unsaid(case)})
    spec["gate"] = {name: spec["gate"][name] for name in ("floors", "serving")}
    plain = {"settings": case.stores.settings.model_dump(), "spec": spec, "version": as_json(case.version)}
    return json.dumps(plain, default=_written)


def _unsaid(case: Case) -> set[str]:
    """What a spec of many classes must not say."""
    return {"threshold"} if case.spec.outputs > 1 else set()


def _written(value: Any) -> Any:
    """What JSON does not know, as settings and specs write it."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, timedelta):
        return f"{int(value.total_seconds() // 60)}m"
    return f"{value:%H:%M}" if isinstance(value, time) else str(value)


def _failed(code: int, seen: dict[str, Any], log: str) -> str:
    """Why the probe did not come to its end, for a person; empty if it did."""
    if code == 0 and seen["phase"] == "done":
        return ""
    if code == -signal.SIGALRM:
        return f"it took too long {seen['phase']}, and was stopped"
    if code < 0:
        return f"the process was ended by {signal.Signals(-code).name} while {seen['phase']}"
    reason = seen["errors"] or log.strip().splitlines()[-1:] or ["it left without a word"]
    return f"{seen['phase']}: {reason[0]}"


def _story(seen: dict[str, Any]) -> str:
    asked = [answer for answer in seen.get("answers", []) if answer is not None]
    return f"loaded in a process of its own, and answered {len(asked):,} held-out rows one by one"


def _costs(case: Case, seen: dict[str, Any]) -> Iterator[Rule]:
    limits = case.spec.gate.serving
    costs = (
        ("load time", "load_seconds", limits.load_seconds, "s until its first answer"),
        ("file size", "megabytes", limits.megabytes, "MB"),
        ("memory", "peak_mb", limits.memory_mb, "MB at most in use, libraries included"),
        ("slowest of a hundred", "p99_ms", limits.p99_ms, "ms an answer, the network left out"),
    )
    for name, key, bound, unit in costs:
        value = seen.get(key)
        if value is None:
            yield Rule(f"serves: {name}", Decision.INCONCLUSIVE, "not measured: it did not come so far")
        else:
            holds, said = value <= bound, f"{value:,.2f} {unit}; at most {bound:,g}"
            decision = Decision.PASS if holds else Decision.FAIL
            yield Rule(f"serves: {name}", decision, said, value=value, bound=bound, kind=Kind.AT_MOST)


def _answers(case: Case, seen: dict[str, Any], rows: "pd.DataFrame") -> list[Rule]:
    """What it says there: a number each time, the gate's numbers, the same twice, and something without features."""
    if seen["failed"]:
        names = ("answers every row", "as the gate was answered", "agrees with itself", "without any feature")
        return [
            Rule(f"serves: {name}", Decision.INCONCLUSIVE, "not tried: it failed before") for name in names
        ]
    errors, degraded = seen["errors"], seen["degraded"]
    return [
        fact("serves: answers every row", not errors, "no question failed", f"{len(errors)} failed: {errors[:1]}"),
        _as_judged(case, seen, rows),
        fact(
            "serves: agrees with itself",
            seen["again"] > 0 and seen["changed"] == 0,
            f"{seen['again']} questions asked again in reverse order, each answered as before",
            f"{seen['changed']} of {seen['again']} questions were answered otherwise the second time",
        ),
        fact(
            "serves: without any feature",
            degraded is not None,
            f"with every feature missing it answers {_plainly(degraded)}",
            "it cannot answer when the feature store is down",
        ),
    ]  # fmt: skip


def _plainly(answer: Any) -> str:
    """An answer as people read it; of several classes a few digits each."""
    return ", ".join(f"{chance:.4g}" for chance in answer) if isinstance(answer, list) else str(answer)


def _size(said: "NDArray[Any]") -> "NDArray[Any]":
    """How large the answers to each row are."""
    return furthest(said, 0 * said)


def _as_judged(case: Case, seen: dict[str, Any], rows: "pd.DataFrame") -> Rule:
    """Serving asks one row at a time, the gate asked all at once: the answers are the same numbers."""
    import numpy as np

    name, judged = "serves: as the gate was answered", case.answers["candidate"][rows.index.to_numpy()]
    none = np.full_like(judged[0], np.nan) if len(judged) else np.nan
    there = np.array([none if answer is None else answer for answer in seen["answers"]], dtype="float64")
    asked = np.isfinite(there) if there.ndim == 1 else np.isfinite(there).all(axis=1)
    if len(there) != len(rows):
        raise EvergreenError(
            f"the probe answered {len(there)} of {len(rows)} questions; see that it is this code's"
        )
    if not asked.any():
        return Rule(name, Decision.FAIL, f"serving can be asked none of {len(rows)} held-out rows")
    apart = furthest(there[asked], judged[asked]) / np.maximum(1, _size(judged[asked]))
    worst, same = float(apart.max()), int((apart == 0).sum())
    left = f"; {int((~asked).sum())} rows serving cannot be asked" if not asked.all() else ""
    return Rule(
        name,
        Decision.PASS if worst <= CLOSE else Decision.FAIL,
        f"{same} of {int(asked.sum())} answers equal to the bit, the furthest is {worst:.2g} away{left}",
        value=worst,
        bound=CLOSE,
        kind=Kind.AT_MOST,
        rows=int(asked.sum()),
    )
