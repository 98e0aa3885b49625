"""Threads that wait leave the processor to others, and collections of garbage too, in whatever process we run."""

import os
import subprocess
import sys

import airflow_local_settings

ASK = "import os, sys, pipelines; assert 'sklearn' not in sys.modules; print(os.environ['OMP_WAIT_POLICY'], end='')"


def policy(**environment: str) -> str:
    plain = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    return subprocess.run(
        [sys.executable, "-c", ASK], env=plain | environment, capture_output=True, text=True, check=True
    ).stdout


def test_a_process_of_the_product_has_threads_that_do_not_spin_while_they_wait() -> None:
    assert policy() == "PASSIVE"


def test_who_sets_another_policy_has_it() -> None:
    assert policy(OMP_WAIT_POLICY="ACTIVE") == "ACTIVE"


def test_the_scheduler_knows_before_it_loads_what_has_such_threads() -> None:
    assert airflow_local_settings.HEAVY[0] == "pipelines"


def thresholds(before: str = "pass") -> str:
    asked = f"import gc; {before}; import pipelines; print(*gc.get_threshold(), end='')"
    return subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout


def test_a_process_of_the_product_seldom_goes_through_what_its_libraries_hold() -> None:
    assert thresholds() == "50000 20 50"


def test_who_collects_garbage_otherwise_does() -> None:
    assert thresholds("gc.set_threshold(701, 9, 9)") == "701 9 9"
