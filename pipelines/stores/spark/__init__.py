"""Spark, as this deployment has it: its session, a Delta version as its rows, and what its executors write.

In come Spark's master and settings, opened Delta tables and Arrow rows; out go Spark's rows, and commits of files that
executors wrote into a table's folder. It reads no silver and knows no feature: who asks says which rows.
"""

__all__ = ["relations", "sessions", "staged"]
