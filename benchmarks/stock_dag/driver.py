"""Runs the stock loop's tasks as Airflow does, in processes forked from one that holds what a scheduler holds.

A stock scheduler holds Airflow; what a task needs beside that it imports itself. It speaks as `loop_driver` does.
"""

import importlib
from types import ModuleType

from benchmarks.loop_driver import SCHEDULER, answering


def scheduler() -> ModuleType:
    """The tasks, with Airflow loaded."""
    for name in SCHEDULER:
        importlib.import_module(name)
    return importlib.import_module("benchmarks.stock_dag.tasks")


if __name__ == "__main__":
    answering(scheduler)
