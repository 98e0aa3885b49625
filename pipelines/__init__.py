"""Evergreen: the stages of continuous training, importable and runnable without Airflow."""

import os

# OpenMP reads it once, as the first library that uses it is loaded. A thread that spins while it waits starves others:
# on two busy cores `evergreen new` took 16 to 21 s of processor time where it takes 3.4 s.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
