"""What to tell of a model that is watched: drift, decay, inputs that are gone, and whether its champion answers."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from pipelines.alerting.alert import Alert, Well
from pipelines.alerting.kinds import Kind, Severity
from pipelines.promotion.missing import missing
from pipelines.settings import Settings
from pipelines.stores import Stores

SECONDS = 5
"""So long serving is waited for."""
DAY, ENOUGH, FEW = timedelta(days=1), 20, 0.05
"""Of so many answers in so long more than a few are degraded; of fewer that is told to nobody."""
PENDING = "{} is not judged"
"""What a report's explanation says where it could not look."""


def monitored(report: Mapping[str, Any], stores: Stores, now: datetime) -> Iterator[Alert | Well]:
    """What a monitor's report says of its model, and whether the champion is there and answers with all features."""
    yield from reported(report)
    yield from degraded(report["model"], stores, now)
    yield from absent(report["model"], stores)
    yield from behind(report["model"], report["version"], stores.settings)


def reported(report: Mapping[str, Any]) -> Iterator[Alert | Well]:
    """Drift, decay and vanished inputs, each by itself; where it could not be judged nothing is told, nor over."""
    model, why = report["model"], report["explanation"]
    gone = ", ".join(report["vanished"])
    drift = f"{report['drift_share']:.0%} of the inputs of {model} drifted"
    found = (
        (Kind.DRIFT, report["drifted"], drift, why),
        (Kind.DECAY, report["decayed"], f"{model} version {report['version']} decayed", why),
        (Kind.VANISHED, bool(gone), f"{model}: {gone} vanished", "; ".join(report["vanished"].values())),
    )
    for kind, so, what, said in found:
        if so:
            yield _alert(kind, report, what, said)
        elif PENDING.format(kind.value) not in why:
            yield Well(kind, model)


def _alert(kind: Kind, report: Mapping[str, Any], what: str, why: str) -> Alert:
    look = f"{report['html']}, or evergreen monitor {report['model']}"
    since = datetime.fromisoformat(report["as_of"])
    return Alert(kind, report["model"], what, why, look, since, model=report["model"])


def absent(model: str, stores: Stores) -> Iterator[Alert | Well]:
    """Versions that the log counts on and MLflow has no more: the champion, and what a rollback goes to."""
    lost = missing(model, stores)
    if not lost:
        yield Well(Kind.CHAMPION_MISSING, model)
        return
    serves = not any(", the champion, " in each for each in lost)
    yield Alert(
        kind=Kind.CHAMPION_MISSING,
        subject=model,
        what=f"{model}: {'a version that a rollback may need' if serves else 'the champion'} is gone from MLflow",
        why="; ".join(lost),
        look=f"evergreen status, and MLflow's page of {model}",
        model=model,
        said_severity=Severity.WARNING if serves else None,
        said_act="Not now. The champion is there; a rollback needs another version." if serves else None,
    )


def behind(model: str, champion: int, settings: Settings) -> Iterator[Alert | Well]:
    """Whether serving answers with a champion. Nothing where none is heard: it may not run here, or be let us in."""
    said = _status(model, settings)
    if said is None or said["loading"]:
        return
    if said["version"] is not None and not said["last_error"]:
        yield Well(Kind.SERVING_BEHIND, model)
        return
    answers = f"answers with version {said['version']}" if said["version"] else "answers nobody"
    yield Alert(
        kind=Kind.SERVING_BEHIND,
        subject=model,
        what=f"{model}: serving {answers}, the champion is version {champion}",
        why=said["last_error"] or "no version is loaded",
        look=f"{settings.serving_address}/v1/models/{model}, and serving's log",
        model=model,
        said_severity=Severity.WARNING if said["version"] else None,
    )


def degraded(model: str, stores: Stores, now: datetime) -> Iterator[Alert | Well]:
    """Whether more than a few of the answers of the day before were made without all features."""
    answers, lost = stores.predictions.degraded(model, now - DAY)
    if lost <= FEW * answers:
        yield from [Well(Kind.SERVING_DEGRADED, model)] if answers else []
    elif answers >= ENOUGH:
        yield Alert(
            kind=Kind.SERVING_DEGRADED,
            subject=model,
            what=f"{lost / answers:.0%} of the answers of {model} were made without all features",
            why=f"{lost:,} of {answers:,} answers since {now - DAY:%Y-%m-%d %H:%M} UTC are degraded",
            look="evergreen status, and serving's log",
            model=model,
        )


def _status(model: str, settings: Settings) -> dict[str, Any] | None:
    """What serving's own route says of a model; None if it is not heard."""
    from pipelines.serving.door.tls import trusted

    asked = Request(f"{settings.serving_address}/v1/models/{model}", headers=settings.serving_headers)  # noqa: S310
    try:
        with urlopen(asked, timeout=SECONDS, context=trusted(settings.serving_tls_ca)) as reply:  # noqa: S310
            return dict(json.load(reply))
    except (HTTPError, URLError, OSError, ValueError):
        return None
