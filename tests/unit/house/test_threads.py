"""Threads that wait leave the processor to others, in whatever process the product runs."""

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
