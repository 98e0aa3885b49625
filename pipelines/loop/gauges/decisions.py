"""What the audit log says of verdicts and champions, counted on from where the last scrape came to."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pipelines.contracts import Decision
from pipelines.loop.gauges.names import Sample
from pipelines.stores.watching.totals import Totals

GATE, MOVES = "gate", ("promote", "rollback")


class Decisions:
    """Each entry is read once: a scrape costs what came since the one before, however long the log is."""

    def __init__(self, totals: Totals) -> None:
        self._totals, self._read = totals, 0
        self._verdicts, self._moves = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        self._last: dict[str, tuple[str, float]] = {}
        self._since: dict[str, tuple[str, float]] = {}

    def samples(self) -> Iterator[Sample]:
        """Verdicts and moves so far, and since when each champion is that."""
        for entry in self._totals.decisions([GATE, *MOVES], self._read):
            self._count(entry)
            self._read = entry.number
        for (model, verdict), count in self._verdicts.items():
            yield Sample("model_verdicts", (model, verdict), count)
        for (model, action), count in self._moves.items():
            yield Sample("model_moves", (model, action), count)
        for model, (last, at) in self._last.items():
            yield Sample("model_judged_timestamp_seconds", (model,), at)
            for verdict in Decision:
                yield Sample("model_last_verdict", (model, verdict.value), float(verdict == last))
        for model, (version, at) in self._since.items():
            yield Sample("model_champion_since_timestamp_seconds", (model, version), at)

    def _count(self, entry: Any) -> None:
        kind, _, subject = entry.subject.partition(":")
        said, at = json.loads(entry.evidence), datetime.fromisoformat(entry.at).timestamp()
        if entry.action == GATE and kind == "model":
            model = subject.rpartition("@")[0]
            if model not in self._last:
                self._verdicts.update({(model, each.value): 0 for each in Decision})
            self._last[model] = said["decision"], at
            self._verdicts[model, said["decision"]] += 1
        elif entry.action in MOVES and kind == "champion":
            if subject not in self._since:
                self._moves.update({(subject, action): 0 for action in MOVES})
            self._since[subject] = str(said["champion"]), at
            self._moves[subject, entry.action] += 1
