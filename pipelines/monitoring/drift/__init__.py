"""Whether what arrives is what a model learned from, at any number of rows and a stated rate of false alarms.

In come the columns of the rows, day by day; they are kept as sketches, small and mergeable. Out come, for each
column, a p-value that the ordinary days of the reference calibrate, the size of the difference, and whether it
counts; and of all columns together whether a classifier tells the newest rows.
"""

__all__ = [
    "bins",
    "classifier",
    "column",
    "days",
    "domain",
    "importance",
    "kept",
    "null",
    "reference",
    "rows",
    "seasons",
    "sketch",
    "verdict",
]
