"""Runs one checkout's steps as Airflow runs its tasks: in processes forked from one that holds what a scheduler holds.

It is started with the Python of the checkout's own environment, in the checkout's folder, and loads that checkout's
code only. A line of JSON on standard input is a group of calls that run at once; a line on standard output answers it.
"""

import ctypes
import importlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

STEPS = ("pipelines.loop.steps", "pipelines.stages.retrain")
"""Where a checkout keeps the functions that its DAGs call, by name of the step; the newest place first."""
SCHEDULER = ("airflow.jobs.scheduler_job_runner", "airflow.executors.local_executor", "airflow.sdk")
PRELOAD = "airflow_local_settings"
CHILDREN_TOLD = "pipelines.local.environment"


def told() -> None:
    """The environment that the checkout gives its scheduler."""
    from pipelines.settings import settings

    settings().home.joinpath("airflow").mkdir(parents=True, exist_ok=True)
    surroundings = importlib.import_module(CHILDREN_TOLD).environment
    os.environ.update(surroundings(settings()))
    sys.path[:0] = [str(Path.cwd()), str(Path.cwd() / "plugins")]


def preloaded() -> ModuleType:
    """What a scheduler has loaded when it forks a task, and the module of the steps."""
    sys.argv = ["airflow", "scheduler"]
    for name in (*SCHEDULER, PRELOAD):
        importlib.import_module(name)
    return steps()


def steps() -> ModuleType:
    """The module whose functions are the steps, wherever this checkout keeps it."""
    for name in STEPS:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not name.startswith(str(error.name)):
                raise
    raise SystemExit(f"none of {', '.join(STEPS)} is in {Path.cwd()}; add its name to STEPS")


def forked(run: Callable[[], Any]) -> tuple[int, int]:
    """A child that runs a call and writes its answer into a pipe: its pid, and where to read."""
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return pid, read
    os.close(read)
    with os.fdopen(write, "w") as out:
        json.dump(_answer(run), out, default=str)
    os._exit(0)


def _answer(run: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"result": run()}
    except BaseException as error:
        return {"error": f"{type(error).__name__}: {error}"}


def measured(calls: list[Callable[[], Any]]) -> dict[str, Any]:
    """The answers of calls that run at once, and what they took: seconds, processor seconds and megabytes.

    Processor seconds are those of every process below this one, also of servers that a step left running; the memory is
    the largest process's, with what it shares with its parent. `kept` is the memory of what was left running.
    """
    begun, worked = time.perf_counter(), processor_seconds()
    answers, peak = [], 0.0
    for pid, read in [forked(call) for call in calls]:
        with os.fdopen(read) as told_by:
            text = told_by.read()
        _, status, used = os.wait4(pid, 0)
        answers.append(json.loads(text) if text else {"error": f"ended with status {status}"})
        peak = max(peak, used.ru_maxrss / 1024)
    took = {"wall": time.perf_counter() - begun, "cpu": processor_seconds() - worked, "peak": peak}
    return {"answers": answers, **took, "kept": sum(map(private_memory, descendants()))}


def processor_seconds() -> float:
    """What every process that began below this one has used until now."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = sum(sum(map(int, fields[11:15])) for fields in map(stat, descendants()) if fields)
    return ended.ru_utime + ended.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


def descendants() -> list[int]:
    """Every living process below this one, and those that ended but were not waited for."""
    parents = {int(name): stat(int(name)) for name in os.listdir("/proc") if name.isdigit()}
    below, found = [os.getpid()], list[int]()
    while below:
        above = below.pop()
        children = [pid for pid, fields in parents.items() if fields and int(fields[1]) == above]
        found += children
        below += children
    return found


def stat(pid: int) -> list[str]:
    """The fields of a process after its name; none if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def private_memory(pid: int) -> float:
    """A process's memory in MB, what it shares with others counted in part."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def adopting() -> None:
    """Whatever a step leaves running stays below this process, so that its work is counted."""
    set_child_subreaper = 36
    ctypes.CDLL(None, use_errno=True).prctl(set_child_subreaper, 1, 0, 0, 0)


def end_all() -> None:
    """End what steps left running."""
    for pid in descendants():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def call(module: ModuleType, asked: dict[str, Any]) -> Callable[[], Any]:
    """A step with its arguments; `floor` is the benchmark's own."""
    if asked["step"] == "floor":
        path = str(Path(__file__).parent)

        def floor() -> Any:
            sys.path.append(path)
            return importlib.import_module("loop_floor").floor(module, *asked["args"])

        return floor
    function = getattr(module, asked["step"])
    return lambda: function(*asked["args"], **asked.get("named", {}))


def checkout() -> ModuleType:
    """The steps of the checkout in whose folder this runs, and all that its scheduler holds."""
    told()
    return preloaded()


def answering(loaded: Callable[[], ModuleType]) -> None:
    """Load a module of steps, say which there are and what loading took, and run what is asked until nobody asks."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    adopting()
    module = loaded()
    names = [name for name in dir(module) if callable(getattr(module, name))]
    print(json.dumps({"steps": names, "cpu": time.process_time()}), file=answers)
    for line in sys.stdin:
        found = measured([call(module, asked) for asked in json.loads(line)])
        print(json.dumps(found), file=answers)
    end_all()


if __name__ == "__main__":
    sys.path.pop(0)  # this folder's modules are none of the checkout's
    answering(checkout)
