"""Checks of one deployment, each with what to do about it."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pipelines import catalog, transit
from pipelines.alerting.delivery import checked
from pipelines.contracts import EvergreenError
from pipelines.settings import Settings, settings
from pipelines.stores import Stores

Looked = Callable[[Settings], str]
"""What a check saw; EvergreenError says what is wrong and how to mend it."""


def findings(more: Mapping[str, Looked] | None = None) -> list[dict[str, Any]]:
    """Those on this process's deployment, and those of `more` checks; if its settings cannot be used, that alone."""
    try:
        found = settings()
    except EvergreenError as error:
        return [{"check": "settings", "ok": False, "detail": str(error)}]
    return examine(found) + [_finding(name, partial(look, found)) for name, look in (more or {}).items()]


def examine(settings: Settings) -> list[dict[str, Any]]:
    """One finding per check: what was looked at, whether it is well, and the detail or remedy."""
    stores = Stores(settings)
    checks: list[tuple[str, Callable[[], str]]] = [
        ("specs", _specs),
        ("estimators", _estimators),
        ("questions", _questions),
        ("expectation suites", lambda: _suites(settings)),
        ("feature views", lambda: _views(stores)),
        ("folders", lambda: _folders(settings)),
        ("home is writable", lambda: _writable(settings)),
        ("connections", lambda: _connections(settings)),
        ("ledger", lambda: f"{len(stores.ledger.batches())} batches"),
        ("audit log", lambda: _audit(stores)),
        ("keys", lambda: _keys(stores)),
        ("champions", lambda: _champions(stores)),
        ("alerts", lambda: checked(settings)),
    ]
    return [_finding(name, check) for name, check in checks]


def _finding(name: str, check: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"check": name, "ok": True, "detail": check()}
    except (EvergreenError, OSError) as error:
        return {"check": name, "ok": False, "detail": str(error)}


def _specs() -> str:
    """A spec that is not sound stops nobody but itself, so that it must be looked for."""
    broken = catalog.faults()
    if broken:
        raise EvergreenError("\n".join(broken.values()))
    return f"{len(catalog.datasets())} datasets, {len(catalog.models())} models"


def _estimators() -> str:
    from pipelines.training.contract import check

    return ", ".join(Path(check(spec)).parent.name for spec in catalog.models().values())


def _questions() -> str:
    """Whether serving can tell when the event is, by which horizon and age of features are reckoned."""
    from pipelines.loop.checkup.questions import times

    wrong = [fault for spec in catalog.models().values() for fault in times(spec) if fault.breaks]
    if wrong:
        raise EvergreenError("\n".join(f"{fault.where}: {fault.what}; {fault.remedy}" for fault in wrong))
    return "each says when its event is, or needs no features"


def _suites(settings: Settings) -> str:
    counts = []
    for name in catalog.datasets():
        path = settings.expectations / f"{name}.json"
        if not path.exists():
            raise EvergreenError(f"{path} is missing; every dataset needs a Great Expectations suite")
        counts.append(len(json.loads(path.read_text())["expectations"]))
    return f"{sum(counts)} expectations in {len(counts)} suites"


def _views(stores: Stores) -> str:
    for version in stores.features.current.values():
        version.look_back  # noqa: B018 - says so if the file declares none
    return ", ".join(map(str, stores.features.current.values()))


def _folders(settings: Settings) -> str:
    """Settings refuse a folder in which no state can lie, so what is here is fit."""
    return f"home {settings.home}, landing {settings.landing_path}, lake {settings.lake_uri}"


def _writable(settings: Settings) -> str:
    settings.home.mkdir(parents=True, exist_ok=True)
    probe = settings.home / ".doctor"
    probe.write_text("")
    probe.unlink()
    return str(settings.home)


def _connections(settings: Settings) -> str:
    """Settings refuse what is plain where encryption is required, so what is here may travel as it does."""
    away = [each for each in settings.connections if each.state is not transit.State.HERE]
    told = (f"{each.what} {each.state}" + _remedy(each) for each in away)
    return ", ".join(told) or "none leaves this machine"


def _remedy(each: transit.Connection) -> str:
    return f" ({each.setting}: {each.remedy})" if each.state is transit.State.PLAIN else ""


def _audit(stores: Stores) -> str:
    """The log alone; `evergreen audit verify` holds versions, files and ledger against it too."""
    found = stores.audit.verify()
    if found:
        raise EvergreenError(f"{found[0]}; {len(found)} findings, `evergreen audit verify` tells all")
    return f"{stores.audit.head.number} entries, whole"


def _keys(stores: Stores) -> str:
    exposed = stores.keys.exposed()
    if exposed:
        raise EvergreenError("; ".join(exposed))
    return f"{stores.keys.folder} is its owner's alone"


def _champions(stores: Stores) -> str:
    from pipelines.promotion.missing import missing

    lost = [said for name in catalog.models() for said in missing(name, stores)]
    if lost:
        raise EvergreenError("; ".join(lost))
    found = {name: stores.tracking.champion(name) for name in catalog.models()}
    return ", ".join(f"{n}: {c.version if c else 'none yet'}" for n, c in found.items())
