"""The benchmark of the loop compares like with like, and counts all that a step uses."""

import copy
import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from benchmarks.loop import medians, same
from benchmarks.loop_driver import measured
from benchmarks.loop_sides import Took, Unequal
from pipelines.settings import PROJECT

RULE = {"name": "roc_auc at least 0.62", "decision": "PASS", "value": 0.7, "low": None, "high": None}
SPEED = {"name": "serves: load time", "decision": "PASS", "value": 0.3, "low": None, "high": None}
ROUND: dict[str, Any] = {
    "rows": {"rows": 10, "positives": 3, "holdout_rows": 2, "content": "abc"},
    "verdict": {
        "decision": "PASS",
        "rows": 2,
        "champion_version": 1,
        "anchor_version": 1,
        "rules": [RULE, SPEED],
    },
    "moved": {"promoted": True, "reason": "passed its gate"},
}


def changed(*path: Any, to: Any) -> dict[str, Any]:
    other = copy.deepcopy(ROUND)
    place = other
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return other


@pytest.mark.parametrize(
    "other",
    [
        changed("rows", "content", to="abd"),
        changed("rows", "rows", to=11),
        changed("verdict", "decision", to="INCONCLUSIVE"),
        changed("verdict", "champion_version", to=None),
        changed("verdict", "rules", to=[SPEED]),
        changed("verdict", "rules", 0, "decision", to="FAIL"),
        changed("verdict", "rules", 0, "value", to=0.700001),
        changed("verdict", "rules", 0, "low", to=0.1),
        changed("verdict", "rules", 1, "decision", to="FAIL"),
        changed("moved", "promoted", to=False),
    ],
)
def test_sides_that_did_not_do_the_same_are_not_compared(other: dict[str, Any]) -> None:
    with pytest.raises(Unequal):
        same(ROUND, other)


@pytest.mark.parametrize(
    "other",
    [
        ROUND,
        changed("verdict", "rules", 1, "value", to=9.9),
        changed("verdict", "rules", to=[SPEED, {**RULE, "name": "a new rule"}, RULE]),
    ],
)
def test_times_on_this_machine_and_rules_that_are_new_may_differ(other: dict[str, Any]) -> None:
    same(ROUND, other)


def test_rounds_without_a_promotion_do_not_count() -> None:
    promoted = {"new": {"took": {"train": Took(2.0, 3.0, 10.0), "served": Took(1.0, 0.1, 20.0)}}}
    refused = {"new": {"took": {"train": Took(50.0, 50.0, 50.0)}}}
    found = medians([promoted, refused], "new")
    assert (found["train"].wall, found["landed to served"].wall) == (2.0, 3.0)
    with pytest.raises(SystemExit, match="no round"):
        medians([refused], "new")


def test_a_step_is_charged_with_what_its_childrens_children_use() -> None:
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    found = measured([lambda: subprocess.run([sys.executable, "-c", busy], check=True).returncode])
    assert found["answers"] == [{"result": 0}]
    assert 0.3 <= found["cpu"] < 10


LEAVES_A_SERVER = r"""
import json, os, subprocess, sys
from benchmarks.loop_driver import adopting, descendants, end_all, measured

server = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ntime.sleep(60)"
step = (
    "import subprocess, sys\n"
    f"found = subprocess.Popen([sys.executable, '-c', {server!r}], stdout=-1, start_new_session=True)\n"
    "found.stdout.readline()\n"
)
adopting()
found = measured([lambda: subprocess.run([sys.executable, "-c", step], check=True).returncode])
left = descendants()
end_all()
ended = [os.waitpid(pid, 0)[1] for pid in left]
print(json.dumps({**found, "ended": ended}))
"""


def test_a_step_is_charged_with_a_server_that_it_leaves_running_and_that_is_ended() -> None:
    command = [sys.executable, "-c", LEAVES_A_SERVER]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True, timeout=60)
    found = json.loads(done.stdout)
    assert found["cpu"] >= 0.3
    assert found["kept"] > 1
    assert found["ended"] == [signal.SIGTERM]


def test_calls_of_a_group_run_at_once_and_an_error_is_an_answer() -> None:
    read, write = os.pipe()
    wait = lambda: os.read(read, 1).decode()  # noqa: E731 - ends only once the other call has run
    told = lambda: os.write(write, b"x")  # noqa: E731
    found = measured([wait, told, lambda: 1 / 0])
    assert [answer.get("result") for answer in found["answers"]] == ["x", 1, None]
    assert "ZeroDivisionError" in found["answers"][2]["error"]
