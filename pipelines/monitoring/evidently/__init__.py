"""Evidently for people: its report and tests of two samples, a project per model in a workspace, and its own UI.

It judges nothing: whether a column moved it takes from our test of all rows. Nothing of it leaves the machine.
"""

import os

os.environ.setdefault("DO_NOT_TRACK", "1")

__all__ = ["ui"]
