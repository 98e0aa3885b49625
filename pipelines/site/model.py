"""One model as its page tells it: each part read by itself, from the records."""

from datetime import datetime, timedelta

from pipelines.catalog import ModelSpec
from pipelines.loop.costs import bill
from pipelines.loop.costs.answers import answering
from pipelines.monitoring.performance.days import metric_of
from pipelines.site import sources, versions, watching
from pipelines.site.facts import Alerted, Callers, Costs, ModelFacts
from pipelines.site.told import told
from pipelines.stores import Stores

WEEK = timedelta(days=7)
ASK = "predict"


def facts(spec: ModelSpec, stores: Stores, now: datetime) -> ModelFacts:
    """Everything that is told of a model at a moment of the wall clock; nothing that is broken keeps the rest away."""
    name = spec.name
    needed = list(dict.fromkeys([*spec.datasets, spec.label.dataset]))
    return ModelFacts(
        name=name,
        description=spec.description,
        owner=spec.owner,
        task=spec.task,
        schedule=spec.schedule,
        metric=metric_of(spec),
        drift_bound=spec.monitor.drift_share,
        rollout=spec.rollout is not None,
        about=told(f"card of {name}", lambda: _about(spec)),
        history=told(f"versions of {name}", lambda: versions.history(spec, stores)),
        watched=told(f"monitor of {name}", lambda: watching.watched(spec, stores)),
        datasets=told(f"datasets of {name}", lambda: sources.datasets(stores, needed)),
        views=told(f"views of {name}", lambda: sources.views(stores, spec.features_by_view)),
        features=told(f"features of {name}", lambda: watching.features(spec, stores)),
        cost=told(f"cost of {name}", lambda: _cost(name, stores, now)),
        callers=told(f"callers of {name}", lambda: _callers(name, stores, now)),
        alerts=told(f"alerts of {name}", lambda: _alerts(name, needed, stores)),
        held=told(f"quarantine of {name}", lambda: sources.held(stores, needed)),
    )


def _about(spec: ModelSpec) -> str:
    """What a person wrote of the model, as Markdown."""
    path = spec.folder / "CARD.md"
    return path.read_text() if path.is_file() else ""


def _cost(name: str, stores: Stores, now: datetime) -> Costs:
    lines = tuple(bill.lines(stores, now - WEEK, now, "stage", name))
    prices = [line.money for line in lines if line.money is not None]
    return Costs(
        lines=lines,
        answers=tuple(answering(stores.costs.between(now - WEEK, now), name)),
        cpu=sum(line.cpu for line in lines),
        wall=sum(line.wall for line in lines),
        money=sum(prices) if prices else None,
        currency=stores.settings.cost_currency,
    )


def _callers(name: str, stores: Stores, now: datetime) -> Callers:
    week, last = stores.predictions.traffic(now - WEEK).get(name, (0, None))
    keys = {key.name for key in stores.api_keys.all() if ASK in key.scopes and key.lasts(now)}
    return Callers(week, last, tuple(sorted(keys)))


def _alerts(name: str, needed: list[str], stores: Stores) -> tuple[Alerted, ...]:
    """The open ones about the model, or about a dataset that it learns from."""
    kept = [each for each in stores.alerts.listed() if _concerns(each.said, name, needed)]
    return tuple(_alerted(each.said, each.opened_at) for each in kept)


def _alerted(said: dict[str, object], since: datetime) -> Alerted:
    severity, what, why, act, look = (
        str(said.get(each, "")) for each in ("severity", "what", "why", "act", "look")
    )
    return Alerted(severity, what, why, act, look, since)


def _concerns(said: dict[str, object], name: str, needed: list[str]) -> bool:
    return said.get("model") == name or said.get("dataset") in needed
