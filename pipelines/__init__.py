"""Evergreen: the stages of continuous training, importable and runnable without Airflow."""

import gc
import os

# OpenMP reads it once, as the first library that uses it is loaded. A thread that spins while it waits starves others:
# on two busy cores `evergreen new` took 16 to 21 s of processor time where it takes 3.4 s.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# By default every 700 new objects are gone through, again and again while libraries are imported that make a million of
# them and let none go: a quarter to a third of the time of an import (serving's 3.1 s of processor time are 2.2 s so).
if gc.get_threshold() == (700, 10, 10):
    gc.set_threshold(50_000, 20, 50)
