"""Rules of the Features pages: who sees them, what they show, and that nothing from outside is believed."""

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from pipelines.settings import settings
from pipelines.stores.feature_store.health import Check, Distribution, Health, ViewHealth
from pipelines.stores.feature_store.views import Views

AS_OF = datetime(2013, 1, 5, 12, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>'\"&<img src=x onerror=alert(1)>"
DEFINITION = """{"spec": {"name": "rain", "owner": "meteorology", "description": "How wet it is.",
 "entities": ["origin"], "ttl": "21600s", "features": [{"name": "inches", "description": "since midnight"}]}}"""


class Read(HTMLParser):
    """What a browser would make of a page: its tags with attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def health(hours: int = 0, **said: Any) -> ViewHealth:
    lies = Distribution(9, 0.0, 0.1, 1.0, 2.0, 3.0, 8.0, 9.5, 2.25, 1.5)
    plain: dict[str, Any] = {
        "view": "rain", "version": 1, "rows": 12, "seconds": 1.5, "total": 3456, "size": 7890,
        "newest": AS_OF + timedelta(hours=hours - 1), "nulls": {"origin": 0.0, "inches": 0.125},
        "distributions": {"origin": Distribution(2, top=(("EWR", 7), ("JFK", 5))), "inches": lies},
    }  # fmt: skip
    return ViewHealth(as_of=AS_OF + timedelta(hours=hours), **plain | said)


def record(*told: ViewHealth) -> None:
    for each in told:
        Health(settings().database).record(each)


@pytest.fixture(scope="module")
def site() -> Any:
    """The pages as Airflow's API server has them, with its own guard; `known` says who asks."""
    from airflow.api_fastapi.app import init_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user
    from airflow.utils.db import initdb
    from evergreen_airflow.feature_pages import router
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    initdb()
    app = FastAPI()
    app.include_router(router)
    init_auth_manager()
    client = TestClient(app, raise_server_exceptions=True)

    def ask(path: str, role: str | None = "viewer", known: bool = True) -> Any:
        app.dependency_overrides = {}
        if known:
            user = SimpleAuthManagerUser(username="x", role=role)
            app.dependency_overrides[get_user] = lambda: user
        return client.get(path)

    return ask


@pytest.fixture
def page(site: Any) -> Any:
    def read(path: str = "/features/features") -> Read:
        answer = site(path)
        assert answer.status_code == 200, answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        return Read(answer.text)

    return read


def test_who_may_not_read_the_dag_sees_nothing(site: Any) -> None:
    record(health())
    for path in ("/features/features", "/features/features?view=rain"):
        assert site(path).status_code == 200
        assert site(path, known=False).status_code == 401
        assert site(path, role=None).status_code == 403


def test_the_pages_belong_to_the_dag_that_computes_features_and_to_no_other(site: Any) -> None:
    record(health())
    assert "rain" not in site("/features/retrain_x").text
    assert "rain" not in site("/features/retrain_x?view=rain").text


def test_when_computing_stops_the_page_says_for_how_long_and_marks_what_no_longer_lives() -> None:
    """What was fresh when it was computed stays so for ever; the clock does not."""
    from evergreen_airflow.feature_pages import one, overview

    record(health(newest=AS_OF))
    Views(settings().database).register("rain", "d", "select 1", DEFINITION)
    recorded = Health(settings().database).recorded("rain")
    assert recorded is not None
    for hours, marked in ((3, 0), (7, 1)):
        now = recorded + timedelta(hours=hours)
        text = bytes(overview(now).body).decode()
        assert f"computed {hours} h ago" in text
        assert text.count("<span class=warn><small>computed") == marked
        assert f"{hours} h ago" in bytes(one("rain", now).body).decode()


def test_before_anything_was_computed_the_page_says_what_to_run(page: Any) -> None:
    assert "run \nevergreen features compute\n" in page().text
    Views(settings().database).register("rain", "d", "select 1", DEFINITION)
    assert "rain was not computed yet" in page().text


def test_every_view_is_listed_with_what_it_is_and_how_it_is(page: Any) -> None:
    Views(settings().database).register("rain", "d", "select 1", DEFINITION)
    failed = Check("never negative", "inches", "warning", False, "-1.5")
    record(health(-24), health(checks=(failed, Check("r", "", "critical", True, "0"))))
    record(health(view="other"))
    found = page()
    for said in (
        "rain@v1", "other@v1", "meteorology", "How wet it is.", "origin", "2013-01-05 12:00", "1 h", "12",
        "3,456 in all", "12.5%", "1.50 s", "7.9 kB", "warning, 1 of 2 passed", "inches: never negative; saw -1.5",
    ):  # fmt: skip
        assert said in found.text, said
    assert len(found.of("tr")) == 3, "a heading, and one row per view"


def test_each_view_names_every_model_that_asks_for_it(page: Any) -> None:
    record(health(), health(view="origin_congestion"), health(view="route_punctuality"))
    found = page()
    assert "airport_hours, flight_delays" in found.text
    assert "nobody" in found.text
    assert "flight_delays" in page("/features/features?view=route_punctuality").text
    assert "airport_hours" not in page("/features/features?view=route_punctuality").text


def test_a_view_that_serves_nothing_any_more_is_marked(page: Any) -> None:
    Views(settings().database).register("rain", "d", "select 1", DEFINITION)
    record(health(newest=AS_OF - timedelta(hours=7)))
    assert "older than 6 h" in page().text


def test_a_view_has_a_page_with_each_columns_recent_runs(page: Any) -> None:
    Views(settings().database).register("rain", "d", "select 1", DEFINITION)
    record(
        *(health(-hour) for hour in range(5)),
        *(health(hour, rows=0, nulls={}, distributions={}) for hour in range(1, 40)),
    )
    [link] = [a["href"] for a in page().of("a")]
    found = page(f"/features/{link}")
    assert urlsplit(link)[2:4] == ("features", "view=rain&version=1")
    for said in (
        "since midnight",
        "0 computed, 3,456 in the table",
        "EWR",
        "JFK",
        "2.25",
        "5 of them",
    ):
        assert said in found.text, said
    lines = [each["points"] for each in found.of("polyline")]
    assert [len(points.split()) for points in lines] == [5, 5, 5], "nulls of both columns, values of one"
    assert len(found.of("polygon")) == 2
    assert len(found.of("rect")) == 3
    [back] = [a["href"] for a in found.of("a")]
    assert back == "features"


def test_the_checks_of_the_last_run_are_shown_or_why_there_are_none(page: Any) -> None:
    record(health(checks=(Check("never negative", "inches", "critical", False, "-1.5"),)))
    assert {"never negative", "critical", "failed", "-1.5"} <= set(
        page("/features/features?view=rain").text.split("\n")
    )
    record(health())
    assert "there is no expectations/features/rain.json" in page("/features/features?view=rain").text


def test_one_of_several_versions_is_chosen_and_the_others_are_linked(page: Any, site: Any) -> None:
    record(health(), health(version=2))
    newest, first = page("/features/features?view=rain"), page("/features/features?view=rain&version=1")
    assert "rain@v2" in newest.text
    assert "rain@v1" in first.text
    assert "features?view=rain&version=1" in [a["href"] for a in newest.of("a")]
    assert site("/features/features?view=rain&version=3").status_code == 404
    assert site("/features/features?view=rain&version=x").status_code == 422
    assert site("/features/features?view=unknown").status_code == 404


def test_nothing_from_outside_becomes_markup(page: Any) -> None:
    text = HOSTILE.replace('"', '\\"')
    Views(settings().database).register(
        "rain", "d", "s",
        f'{{"spec": {{"owner": "{text}", "description": "{text}", "entities": ["{text}"],'
        f' "features": [{{"name": "{text}", "description": "{text}"}}]}}}}',
    )  # fmt: skip
    lies = Distribution(1, top=((HOSTILE, 3),))
    bad = Check(HOSTILE, HOSTILE, HOSTILE, False, HOSTILE)
    record(health(nulls={HOSTILE: 0.5}, distributions={HOSTILE: lies}, checks=(bad,)), health(view=HOSTILE))
    pages = [page(), page("/features/features?view=rain")]
    plain = {"html", "meta", "title", "style", "h1", "h2", "p", "table", "tr", "th", "td", "a", "small", "span",
             "code", "br", "svg", "line", "polyline", "polygon", "rect", "circle"}  # fmt: skip
    for found in pages:
        assert {tag for tag, _ in found.tags} <= plain
        assert HOSTILE in found.text
        assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]
    links = [a["href"] or "" for a in pages[0].of("a")]
    assert len(links) == 2
    for link in links:
        assert page(f"/features/{link}").of("h1")


numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@bounded(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(*[numbers] * 7), max_size=5), st.lists(st.none() | st.floats(0, 1), max_size=5))
def test_a_chart_stays_inside_its_frame_whatever_the_numbers(
    runs: list[Any], shares: list[float | None]
) -> None:
    from pipelines.site.charts import HEIGHT, WIDTH, bands, box, line

    ordered = [tuple(sorted(q)) if None not in q else q for q in runs]
    drawn = [line(shares, "t"), bands([q[:5] for q in ordered], "t"), *(box(*q) for q in ordered)]
    for text in filter(None, drawn):
        found = Read(text)
        points = [each["points"] or "" for name in ("polyline", "polygon") for each in found.of(name)]
        spots = [tuple(map(float, pair.split(","))) for each in points for pair in each.split()]
        spots += [(float(r["x"] or 0), float(r["y"] or 0)) for r in found.of("rect")]
        assert spots or found.of("circle")
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in spots)
