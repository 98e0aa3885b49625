"""Strict reading: a landed file becomes rows in a staging database of its own, or is refused with one reason.

In comes an open file and its dataset's columns; out go good rows, bad rows (line, rule, raw bytes) and copies, in the
batch's DuckDB. It commits nothing, moves no file and asks no expectation; memory stays bounded whatever a file claims.
"""

__all__ = [
    "copies",
    "files",
    "records",
    "schema",
    "staging",
]
