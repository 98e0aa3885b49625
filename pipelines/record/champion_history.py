"""Who was champion when, from the audit log alone; nothing is answered from a log that is not whole."""

from datetime import datetime
from typing import Any

from pipelines.contracts import EvergreenError, as_json
from pipelines.promotion import champions
from pipelines.record import verification
from pipelines.stores import Stores


def who_was_champion(model: str, at: datetime, stores: Stores) -> dict[str, Any]:
    """The champion of a moment: since and until when, by whose decision, and on which grounds.

    EvergreenError if the log is not as it was written, or if there was no champion yet.
    """
    trusted(stores)
    found = tenure(model, at, stores)
    if found is None:
        raise EvergreenError(_none(model, at, stores))
    return {"model": model, "at": as_json(at), **as_json(found)}


def trusted(stores: Stores) -> None:
    """EvergreenError unless the log is whole, also by the heads that MLflow keeps of it."""
    findings = stores.audit.verify(verification.trusted_heads(stores))
    if findings:
        raise EvergreenError(
            f"the audit log is not as it was written, so nothing is answered from it: {findings[0]}; "
            "`evergreen audit verify` tells all"
        )


def tenure(model: str, at: datetime, stores: Stores) -> champions.Tenure | None:
    """The tenure that a moment lies in; the later one where two claim it. None before the first."""
    found = [each for each in champions.tenures(model, stores) if each.since <= at]
    return found[-1] if found else None


def _none(model: str, at: datetime, stores: Stores) -> str:
    first = next(iter(champions.tenures(model, stores)), None)
    if first is None:
        return f"{model} never had a champion; `evergreen promote {model}` makes one"
    return f"{model} had no champion at {at:%Y-%m-%d %H:%M:%S} UTC; the first since {first.since.isoformat()}"
