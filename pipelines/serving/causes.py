"""Why serving cannot do something, in a closed set of words: what an open route may say to anybody.

An exception's text may hold an address, a password, a person's name or a value that was asked about. It goes nowhere.
"""

import logging
import traceback
from enum import StrEnum
from pathlib import Path

FRAMES = 4


class Cause(StrEnum):
    """What an open route says of a failure; `evergreen status` and `evergreen doctor` say more to who may ask them."""

    SILENT = "the model registry cannot be asked; see that MLflow (EVERGREEN_TRACKING_URI) is up"
    FOREIGN = "the registry's champion was registered by no training here, so it is refused"
    GONE = (
        "the registry names no champion any more: what is loaded answers on, but a restart could not load it again; "
        "promote or roll back to a version that is still registered"
    )
    UNLICENSED = "it may not serve: it has not passed its gate, or what the gate passed was changed since"
    UNFETCHED = "its file cannot be fetched; see that MLflow's artifact store is up and still holds it"
    UNDERWAY = (
        "its file is still being fetched; if that does not end, see that MLflow's artifact store answers"
    )
    REFUSED = "its file is refused: its signature, its digest or what is in it is not what was registered"
    MUTE = "it does not answer the spec's example"


def passed(error: BaseException) -> str:
    """The type of an error and the code it came from, innermost first: enough to find it, and nothing it says."""
    frames = reversed(traceback.extract_tb(error.__traceback__)[-FRAMES:])
    places = ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    return f"{type(error).__name__} at {places}" if places else type(error).__name__


class Discreet(logging.Formatter):
    """Writes log records, also other libraries', with where an exception came from in place of what it says."""

    def formatException(self, ei: object) -> str:
        error = ei[1] if isinstance(ei, tuple) else None
        return passed(error) if isinstance(error, BaseException) else ""

    def format(self, record: logging.LogRecord) -> str:
        record.exc_text = None  # what another formatter has already written down
        return super().format(record)
