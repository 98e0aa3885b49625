"""The one tab that Airflow shows on every DAG leads to the page of what that DAG works on."""

from typing import Any

import pytest

from pipelines.prove.promotion.world import World
from tests.dags.test_feature_page import Read
from tests.dags.test_model_page import PAGE, ask, world
from tests.unit.site.test_pages import report

__all__ = ["ask", "world"]


def test_airflow_is_told_of_one_tab_for_dags_and_one_for_runs() -> None:
    import evergreen_plugin

    views = evergreen_plugin.Evergreen.external_views
    assert sorted(each["destination"] for each in views) == ["dag", "dag_run", "nav"]
    tabs = [each for each in views if each["destination"] != "nav"]
    assert {(each["name"], each["href"]) for each in tabs} == {("Evergreen", "/evergreen/dag/{DAG_ID}")}
    assert len({each["url_route"] for each in views}) == 3


def test_the_tab_of_every_dag_of_ours_has_something_to_say(dags: dict, ask: Any) -> None:
    work = {name.partition("_")[0] for name in dags}
    assert work | {"rollout"} == {"features", "ingest", "monitor", "retrain", "rollout", "score"}
    for name in {*dags, "rollout_flight_delays"}:
        answer = ask("GET", f"/dag/{name}", "viewer")
        assert answer.status_code == 200, name
        assert [each.status_code for each in answer.history] == [307], name
        for empty in ("nothing to say", "trains no model", "ingests no dataset", "computes no features"):
            assert empty not in answer.text, name
        about = name.partition("_")[2] or "feature"
        assert about in Read(answer.text).text, name


@pytest.mark.parametrize(
    "name", ["backup", "ingest_nothing", "retrain_nothing", "features_of_others", "retrain_"]
)
def test_on_a_dag_that_is_none_of_ours_it_says_so(ask: Any, name: str) -> None:
    answer = ask("GET", f"/dag/{name}", "viewer")
    assert (answer.status_code, answer.history) == (200, [])
    assert "none of its own" in answer.text


def test_who_may_not_read_the_dag_is_not_led_anywhere(ask: Any) -> None:
    assert ask("GET", "/dag/ingest_flights", None, follow_redirects=False).status_code == 401


@pytest.fixture
def watched(world: World) -> World:
    """A champion whose card was written, whom the monitor has looked at, and whose days have a page."""
    report(world)
    pages = (
        world.home / "decisions" / world.spec.name / "2" / "card.html",
        world.home / "reports" / "performance" / f"{world.spec.name}.html",
    )
    for each in pages:
        each.parent.mkdir(parents=True, exist_ok=True)
        each.write_text(f"<p>{each.name}")
    return world


def test_a_models_page_has_figures_a_chart_and_links_to_card_reports_and_mlflow_run(
    watched: World, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.gate import record
    from pipelines.settings import settings

    monkeypatch.setenv("EVERGREEN_MLFLOW_URL", "https://mlflow.example.org/")
    settings.cache_clear()
    version = watched.stores.tracking.version(watched.spec.name, 2)
    verdict = record.read(version, watched.stores)
    found = Read(ask("GET", PAGE, "viewer").text)
    assert len(verdict.metrics["candidate"]) >= 2
    for name, value in verdict.metrics["candidate"].items():
        assert name in found.text
        assert f"{value:,.4g}" in found.text
    lost = [
        record.read(each, watched.stores).metrics["candidate"]["log_loss"]
        for each in watched.stores.tracking.versions(watched.spec.name)
        if "verdict" in each.tags
    ]
    assert len(set(lost)) > 2
    chart = f"loss by version: from {lost[-1]:,.4g} to {lost[0]:,.4g}"
    assert chart in found.text
    assert len(lost) in [len((each["points"] or "").split()) for each in found.of("polyline")]
    links = [each["href"] for each in found.of("a")]
    inside = [f"retrain_{watched.spec.name}/{part}" for part in ("2", "2/card", "performance", "drift")]
    assert set(inside) <= set(links)
    assert f"https://mlflow.example.org/#/runs/{version.run_id}" in links
    for path, said in zip(inside[1:], ("card.html", f"{watched.spec.name}.html", "Evidently"), strict=True):
        answer = ask("GET", f"/model/{path}", "viewer")
        assert answer.status_code == 200
        assert said in answer.text


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ({}, "http://127.0.0.1:5000"),
        ({"mlflow_port": 5001, "host": "0.0.0.0"}, "http://localhost:5001"),  # noqa: S104 - what people set
        ({"host": "::1"}, "http://[::1]:5000"),
        ({"tracking_uri": "http://ada:secret@mlflow:5000"}, "http://mlflow:5000"),
        ({"tracking_uri": "http://mlflow:5000", "mlflow_url": "https://m.org/x/"}, "https://m.org/x"),
        ({"tracking_uri": "postgresql+psycopg2://a:b@db/mlflow"}, "http://127.0.0.1:5000"),
    ],
)
def test_links_lead_where_browsers_reach_mlflow_and_hold_no_login(said: dict[str, Any], address: str) -> None:
    from pydantic import SecretStr

    from pipelines.settings import Settings

    given = {name: SecretStr(value) if name == "tracking_uri" else value for name, value in said.items()}
    assert Settings(_env_file=None, **given).mlflow_address == address


def test_an_address_of_mlflow_that_is_none_is_refused_with_the_setting() -> None:
    from pipelines.contracts import EvergreenError
    from pipelines.settings import Settings

    with pytest.raises(EvergreenError, match="EVERGREEN_MLFLOW_URL"):
        Settings(_env_file=None, mlflow_url="mlflow:5000")
