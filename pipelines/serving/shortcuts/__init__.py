"""Ways through a fitted Pipeline that leave out what a few rows do not need, and say the same to the bit.

Each step that is known exactly is taken by a shorter way, all others as they are; a way that does not say what the
Pipeline says, tried when the version is loaded, is not taken.
"""

__all__ = ["shortened"]

from pipelines.serving.shortcuts.pipeline import shortened
