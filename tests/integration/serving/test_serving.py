"""The prediction API: real HTTP handling, a real fitted pipeline and a real log; sources held in memory."""

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from pipelines.contracts import EvergreenError
from pipelines.serving.follower import Follower
from pipelines.serving.http.access import statement
from pipelines.serving.metrics import Metrics
from pipelines.serving.predictor import Loading, NoChampion, Predictor
from pipelines.serving.schemas import example
from pipelines.serving.served import NOTHING
from pipelines.stores import Stores
from tests.integration.serving.worlds import (
    FEATURES,
    KNOWN,
    SPEC,
    URL,
    FeatureTable,
    Models,
    Version,
    World,
    licence,
    wait,
)


def test_an_answer_carries_probability_version_and_id_and_lies_in_the_log(world: World) -> None:
    answer = world.ask().json()
    assert answer["model"] == "flight_delays"
    assert answer["version"] == 1
    assert 0 <= answer["probability"] <= 1
    assert answer["decision"] == (answer["probability"] >= SPEC.threshold)
    assert answer["missing_features"] == []
    logged = world.stores.predictions.get(answer["prediction_id"])
    assert logged is not None
    assert (logged.answer, logged.digest) == (answer["probability"], "one")
    assert logged.features == KNOWN
    assert logged.event_time == datetime(2013, 4, 1, 1, 0, tzinfo=UTC)


def test_the_model_sees_one_row_typed_as_in_training(world: World, pipeline: Any) -> None:
    row = {**example(SPEC)["entities"], **example(SPEC)["request"], **KNOWN}
    frame = pd.DataFrame([row])[list(pipeline.feature_names_in_)]
    for name in ("scheduled_departure", "scheduled_arrival"):
        frame[name] = pd.to_datetime(frame[name], utc=True)
    assert world.ask().json()["probability"] == pipeline.predict_proba(frame)[0, 1]


def test_features_are_asked_for_the_moment_the_prediction_is_due(world: World) -> None:
    world.ask(scheduled_departure="2013-04-01T15:15:00+02:00")
    assert world.features.moments[-1] == datetime(2013, 4, 1, 11, 15, tzinfo=UTC)


def test_a_missing_or_ill_typed_field_is_a_422_that_names_it(world: World) -> None:
    body = example(SPEC)
    del body["entities"]["carrier"]
    body["request"]["distance"] = "far"
    refused = world.client.post(URL, json=body)
    assert refused.status_code == 422
    assert [wrong["field"] for wrong in refused.json()["fields"]] == ["entities.carrier", "request.distance"]
    assert all(wrong["remedy"] for wrong in refused.json()["fields"])
    assert world.stores.predictions.count(SPEC.name) == 0


def test_an_unknown_carrier_is_answered_with_the_missing_features_named(world: World) -> None:
    answer = world.ask(carrier="ZZ")
    assert answer.status_code == 200
    assert answer.json()["missing_features"] == FEATURES
    assert answer.json()["degraded"] is True
    assert answer.json()["warnings"] == [NOTHING]
    assert world.metric("evergreen_missing_features_total", feature=FEATURES[0]) == 1


def test_answers_are_counted_and_those_without_features_apart(world: World) -> None:
    world.ask()
    world.ask(carrier="ZZ")
    assert world.metric("evergreen_answers_total", model=SPEC.name) == 2
    assert world.metric("evergreen_degraded_answers_total", model=SPEC.name) == 1


def test_one_missing_feature_is_named_alone(world: World) -> None:
    world.features.values["UA"] = {**KNOWN, "aircraft__seats": None, "origin_weather__temp": float("nan")}
    assert world.ask().json()["missing_features"] == ["origin_weather__temp", "aircraft__seats"]


def test_an_unknown_model_is_a_404_that_names_those_that_exist(world: World) -> None:
    for refused in (
        world.client.post(URL.replace("flight", "ship"), json={}),
        world.client.get("/v1/models/x"),
    ):
        assert refused.status_code == 404
        assert "flight_delays" in refused.json()["detail"]


def test_without_a_champion_the_answer_is_503_and_says_what_to_do(empty: World) -> None:
    refused = empty.ask()
    assert refused.status_code == 503
    assert "evergreen train flight_delays" in refused.json()["detail"]
    assert empty.client.get("/health").status_code == 200
    unready = empty.client.get("/ready")
    assert (unready.status_code, "flight_delays" in unready.text) == (503, True)
    assert empty.serving() is None


def test_while_the_first_champion_loads_the_answer_says_so_and_when_to_ask_again(
    empty: World, pipeline: Any
) -> None:
    held = threading.Event()
    empty.models.wait = held.wait
    empty.models.loads, empty.models.alias = {1: pipeline}, Version(1, "one")
    wait(lambda: empty.client.get("/v1/models/flight_delays").json()["loading"] == 1)
    refused = empty.ask()
    held.set()
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert "loading its champion, version 1, since" in refused.json()["detail"]
    assert "train" not in refused.json()["detail"]
    wait(lambda: empty.serving() == 1)
    assert empty.client.get("/v1/models/flight_delays").json()["loading"] is None


def test_before_serving_has_looked_for_a_champion_it_does_not_say_that_there_is_none() -> None:
    predictor = Predictor(SPEC, Models(), FeatureTable(), Metrics())
    with pytest.raises(Loading, match="just started"):
        predictor.champion()
    predictor.follow()
    with pytest.raises(NoChampion, match="train and promote"):
        predictor.champion()


def test_all_champions_are_asked_for_at_once_and_one_that_is_wrong_is_nobody_elses_fault(
    pipeline: Any,
) -> None:
    two = SPEC.model_copy(update={"name": "other_model"})
    models = Models(Version(1, "one"), {1: pipeline})
    asked: list[str] = []

    def champion(name: str) -> Version | None:
        asked.append(name)
        if name == two.name:
            raise EvergreenError("no training registered it")
        return models.alias

    predictors = [Predictor(spec, models, FeatureTable(), Metrics()) for spec in (two, SPEC)]
    models.champions = lambda: champion  # type: ignore[method-assign]
    models.champion = None  # type: ignore[assignment, method-assign]
    follower = Follower(predictors, models, 30)
    follower.start()
    wait(lambda: predictors[1].served is not None)
    follower.stop()
    assert asked == [two.name, SPEC.name]
    assert "refused" in str(predictors[0].last_error)


def test_a_moved_alias_is_followed_without_a_restart(world: World, pipeline: Any) -> None:
    assert world.client.get("/ready").json() == {"versions": {"flight_delays": 1}}
    world.models.loads[2] = pipeline
    world.models.alias = Version(2, "two")
    wait(lambda: world.ask().json()["version"] == 2)
    assert world.metric("evergreen_champion_version", model="flight_delays") == 2
    assert world.metric("evergreen_requests_total", version="2", status="200") >= 1


def test_a_version_that_changes_its_bytes_is_loaded_anew(world: World) -> None:
    world.models.alias = Version(1, "other bytes")
    wait(lambda: world.client.get("/v1/models/flight_delays").json()["digest"] == "other bytes")


def test_a_champion_that_does_not_load_keeps_the_old_one_and_the_next_is_tried_at_once(
    world: World, pipeline: Any
) -> None:
    world.models.alias = Version(2, "broken")
    wait(lambda: world.metric("evergreen_load_errors_total") == 1)
    assert world.ask().json()["version"] == 1
    assert "digest" in world.client.get("/v1/models/flight_delays").json()["last_error"]
    world.models.loads[3] = pipeline
    world.models.alias = Version(3, "three")
    wait(lambda: world.ask().json()["version"] == 3)


def test_a_broken_version_is_tried_less_often_and_another_one_at_once(pipeline: Any) -> None:
    models = Models(Version(2, "broken"))
    predictor = Predictor(SPEC, models, FeatureTable(), Metrics())
    tried = predictor._metrics.load_errors.labels(SPEC.name)._value
    predictor.follow()
    predictor.follow()
    assert tried.get() == 1
    models.loads[3] = pipeline
    models.alias = Version(3, "three")
    predictor.follow()
    assert predictor.champion().version == 3


def test_a_rollback_swaps_to_the_version_in_memory_and_loads_nothing(world: World, pipeline: Any) -> None:
    first = world.models.alias
    world.models.loads[2] = pipeline
    world.models.alias = Version(2, "two")
    wait(lambda: world.serving() == 2)
    world.models.loads.clear()
    world.models.alias = first
    wait(lambda: world.serving() == 1)
    assert world.ask().json()["version"] == 1
    assert world.models.built == [1, 2]


def test_a_rollback_to_a_version_that_lost_its_licence_is_refused(world: World, pipeline: Any) -> None:
    first = world.models.alias
    world.models.loads[2] = pipeline
    world.models.alias = Version(2, "two")
    wait(lambda: world.serving() == 2)
    world.models.unlicensed = 1
    world.models.alias = first
    wait(lambda: world.metric("evergreen_load_errors_total") == 1)
    assert world.ask().json()["version"] == 2


def test_an_alias_set_by_hand_on_an_ungated_version_changes_nothing_and_the_status_says_why(
    world: World, pipeline: Any
) -> None:
    world.models.loads[2], world.models.unlicensed = pipeline, 2
    world.models.alias = Version(2, "two")
    wait(lambda: world.metric("evergreen_load_errors_total") == 1)
    assert world.ask().json()["version"] == 1
    assert "gate" in world.client.get("/v1/models/flight_delays").json()["last_error"]
    assert world.models.built == [1]


def test_an_override_shows_in_the_status_and_in_every_answer(world: World, pipeline: Any) -> None:
    assert world.client.get("/v1/models/flight_delays").json()["decision"] == "PASS"
    assert world.ask().json()["overridden"] is False
    two = Version(2, "two")
    world.models.loads[2] = pipeline
    world.models.licences[2] = licence(two, "OVERRIDE", "the storm")
    world.models.alias = two
    wait(lambda: world.serving() == 2)
    status = world.client.get("/v1/models/flight_delays")
    assert status.json()["decision"] == "OVERRIDE"
    assert "ada" not in status.text
    assert "the storm" not in status.text
    assert world.ask().json()["overridden"] is True


def test_a_licence_that_changes_shows_without_another_load(world: World) -> None:
    world.models.licences[1] = licence(Version(1, "one"), "OVERRIDE", "the storm")
    wait(lambda: world.ask().json()["overridden"])
    assert world.models.built == [1]


def test_a_champion_that_cannot_answer_the_example_is_never_swapped_in(world: World) -> None:
    world.models.loads[2] = "not a model"
    world.models.alias = Version(2, "two")
    wait(lambda: world.metric("evergreen_load_errors_total") == 1)
    assert world.ask().json()["version"] == 1


def test_answers_go_on_when_registry_and_feature_store_are_down(world: World) -> None:
    world.models.down = world.features.down = True
    wait(lambda: world.metric("evergreen_poll_errors_total") >= 1)
    answer = world.ask().json()
    assert (answer["version"], answer["degraded"]) == (1, True)
    assert answer["missing_features"] == FEATURES
    assert world.metric("evergreen_feature_errors_total") == 1
    logged = world.stores.predictions.get(answer["prediction_id"])
    assert logged is not None
    assert logged.degraded
    assert world.client.get("/ready").status_code == 200


def test_an_alias_that_vanishes_leaves_the_champion_in_place(world: World) -> None:
    world.models.alias = None
    wait(lambda: world.metric("evergreen_poll_errors_total") >= 1)
    assert world.ask().json()["version"] == 1
    assert "a restart could not load it" in world.client.get("/v1/models/flight_delays").json()["last_error"]


def test_an_answer_that_cannot_be_logged_does_not_leave(world: World) -> None:
    before = world.ask()
    assert before.status_code == 200
    with world.stores.predictions._engine().begin() as connection:
        connection.exec_driver_sql("drop table predictions")
    refused = world.ask()
    assert refused.status_code == 503
    assert "prediction log" in refused.json()["detail"]
    assert "probability" not in refused.text
    assert world.metric("evergreen_log_errors_total") == 1


def test_the_log_is_written_before_the_answer_leaves(world: World) -> None:
    """At the moment the first byte of the 200 is sent, the row can be read by somebody else."""
    seen: list[tuple[int, int]] = []
    other = Stores(world.stores.settings)

    class Watching:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async def watched(message: Any) -> None:
                if message["type"] == "http.response.start":
                    seen.append((message["status"], other.predictions.count(SPEC.name)))
                await send(message)

            await self.app(scope, receive, watched)

    client = TestClient(Watching(world.app))
    assert client.post(URL, json=example(SPEC)).status_code == 200
    assert seen == [(200, 1)]


@pytest.mark.parametrize("path", ["/health", "/ready", "/v2/health/live", "/v2/health/ready"])
def test_a_probe_may_ask_without_wanting_the_answer(path: str, world: World) -> None:
    assert world.client.head(path).status_code == 200


def test_every_route_says_who_may_call_it(world: World) -> None:
    paths = {route.path: statement(route) for route in world.app.routes}  # type: ignore[attr-defined]
    assert {URL, "/openapi.json", "/docs", "/metrics", "/health", "/ready"} <= set(paths)
    assert [path for path, said in paths.items() if not said] == []


def test_a_route_that_does_not_say_who_may_call_it_answers_nobody(world: World) -> None:
    @world.app.get("/forgotten")
    def forgotten() -> str:
        return "secret"

    refused = world.client.get("/forgotten")
    assert refused.status_code == 403
    assert "secret" not in refused.text
    assert world.client.get("/nowhere").status_code == 404


def test_a_body_over_64_kib_is_refused_also_when_its_length_is_not_declared(world: World) -> None:
    assert world.client.post(URL, content=b" " * 65_537).status_code == 413
    chunks = (b" " * 8_192 for _ in range(20))
    json_type = {"Content-Type": "application/json"}
    assert world.client.post(URL, content=chunks, headers=json_type).status_code == 413
    assert world.metric("evergreen_requests_total", status="413") == 2


HOSTILE = [
    b"",
    b"{",
    b"[" * 30_000,
    b'{"entities":' * 5_000,
    b"\xff\xfe",
    b'{"entities": NaN}',
    b"9" * 20_000,
    b'{"\\ud800": 1}',
    json.dumps(example(SPEC)).replace("1400", "1e400").encode(),
    json.dumps(example(SPEC)).replace("1400", "9" * 4_000).encode(),
    json.dumps(example(SPEC)).replace('"UA"', '"\\ud800"').encode(),
]


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_body_is_refused_and_never_a_fault(world: World, body: bytes) -> None:
    refused = world.client.post(URL, content=body, headers={"Content-Type": "application/json"})
    assert refused.status_code in {400, 422}
    assert refused.json()["detail"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
TIMES = st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat) | JSON
NEAR = st.fixed_dictionaries(
    {
        "entities": st.fixed_dictionaries({name: st.text() | JSON for name in SPEC.entities}) | JSON,
        "request": st.fixed_dictionaries(
            {
                "scheduled_departure": TIMES,
                "scheduled_arrival": TIMES,
                "distance": st.integers(-(2**70), 2**70) | JSON,
            }
        )
        | JSON,
    }
)


def test_whatever_json_is_sent_the_answer_is_never_a_500(world: World) -> None:
    statuses: list[int] = []

    @hypothesis_settings(max_examples=300, suppress_health_check=list(HealthCheck))
    @given(NEAR | JSON)
    def send(body: Any) -> None:
        text = json.dumps(body).encode()
        reply = world.client.post(URL, content=text, headers={"Content-Type": "application/json"})
        statuses.append(reply.status_code)
        assert reply.status_code in {200, 400, 413, 422}
        assert isinstance(reply.json(), dict)

    send()
    assert len(statuses) >= 100


def test_well_typed_values_of_every_size_are_answered(world: World) -> None:
    """Every request the schema accepts gets a probability, not a failure inside the model."""
    for values in (
        {"distance": 2**63 - 1},
        {"distance": -(2**63)},
        {"scheduled_departure": "1900-01-01T00:00:00+14:00"},
        {"scheduled_arrival": "2199-12-31T23:59:59-14:00"},
        {"carrier": "\x00", "dest": "é" * 200},
    ):
        assert world.ask(**values).status_code == 200, values


def test_a_null_where_the_dataset_may_be_empty_is_answered_and_logged_as_null(world: World) -> None:
    answer = world.ask(tailnum=None)
    assert (answer.status_code, answer.json()["degraded"]) == (200, False)
    logged = world.stores.predictions.get(answer.json()["prediction_id"])
    assert logged is not None
    assert logged.entities["tailnum"] is None


@pytest.mark.parametrize(("hours", "degraded"), [(-48, False), (0, False), (1, True), (24 * 365, True)])
def test_a_question_about_an_event_older_than_the_features_is_never_answered_silently(
    world: World, hours: int, degraded: bool
) -> None:
    world.features.since = datetime(2013, 4, 1, 1, tzinfo=UTC) + timedelta(hours=hours)
    answer = world.ask().json()
    assert answer["degraded"] is degraded
    assert [("newer than the event" in said, FEATURES[0] in said) for said in answer["warnings"]] == (
        [(True, True)] if degraded else []
    )
    assert world.metric("evergreen_feature_errors_total") == 0


def test_a_value_outside_the_suites_bounds_is_answered_with_a_warning(world: World) -> None:
    for distance in (-1, 2**63 - 1):
        answer = world.ask(distance=distance)
        assert answer.status_code == 200
        assert answer.json()["warnings"] == [
            "distance: must lie between 1 and 6000: miles between two airports of the country"
        ]
    assert world.ask().json()["warnings"] == []


@pytest.mark.parametrize(
    ("odd", "warning"),
    [
        (
            {"scheduled_arrival": "2013-03-31T23:00:00Z"},
            "scheduled_arrival and scheduled_departure: no flight is planned to arrive before it leaves",
        ),
        ({"origin": "JFK", "dest": "JFK"}, "origin and dest: no flight ends where it began"),
        ({"origin": "ewr"}, "origin: flights leave from New York"),
        ({"carrier": "UAL"}, "carrier: airline codes have two characters"),
    ],
)
def test_values_that_do_not_go_together_are_answered_with_a_warning(
    world: World, odd: dict[str, str], warning: str
) -> None:
    answer = world.ask(**odd)
    assert answer.status_code == 200
    assert [said for said in answer.json()["warnings"] if said != NOTHING] == [warning]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""])
@pytest.mark.parametrize(
    "path",
    [URL, URL.replace("predictions", "invocations"), "/v2/models/flight_delays/infer", "/v1/feedback"],
)
def test_a_body_that_is_not_said_to_be_json_is_refused_in_words(world: World, path: str, kind: str) -> None:
    """As a page of another site could send it, unasked; every protocol's refusal names the header."""
    body, said = json.dumps(example(SPEC)), {"Content-Type": kind} if kind else {}
    refused = world.client.post(path, content=body, headers=said)
    assert (refused.status_code, "Content-Type: application/json" in refused.text) == (415, True)
    assert world.stores.predictions.count(SPEC.name) == 0


def test_json_is_known_by_any_name_it_goes_by(world: World) -> None:
    for kind in ("application/json", "Application/JSON; charset=utf-8", "application/vnd.us+json"):
        body = json.dumps(example(SPEC))
        assert world.client.post(URL, content=body, headers={"Content-Type": kind}).status_code == 200


def test_an_unreadable_feature_store_is_a_warning_of_the_answer(world: World) -> None:
    world.features.down = True
    assert "could not be read" in world.ask().json()["warnings"][0]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            json.dumps(example(SPEC)).replace('"carrier"', '"carrier": "AA", "carrier"'),
            'key "carrier" stands twice',
        ),
        ("[" * 30_000, "nested too deeply"),
        (json.dumps(example(SPEC)).replace("1400", "9" * 5_000), "more than 4,300 digits"),
    ],
)
def test_a_body_that_cannot_be_read_is_a_422_that_names_what_is_wrong(
    world: World, body: str, said: str
) -> None:
    refused = world.client.post(URL, content=body, headers={"Content-Type": "application/json"})
    assert refused.status_code == 422
    (wrong,) = refused.json()["fields"]
    assert said in wrong["problem"]
    assert '"carrier": "UA"' in wrong["remedy"]


def test_the_metrics_parse_and_no_name_from_outside_becomes_a_label(world: World) -> None:
    world.ask()
    world.ask(distance=None)
    world.client.post("/v1/models/" + "x" * 50 + "/predictions", json={})
    text = world.client.get("/metrics").text
    assert list(text_string_to_metric_families(text))
    assert "xxx" not in text
    assert world.metric("evergreen_requests_total", version="1", status="200") == 1
    assert world.metric("evergreen_requests_total", version="none", status="422") == 1
    assert world.metric("evergreen_requests_total", model="unknown", status="404") == 1
    assert world.metric("evergreen_request_seconds_count", model="flight_delays") == 2


def test_the_openapi_example_is_accepted_by_the_endpoint_it_documents(world: World) -> None:
    document = world.client.get("/openapi.json").json()
    body = document["paths"][URL]["post"]["requestBody"]["content"]["application/json"]["schema"]
    schema = document["components"]["schemas"][body["$ref"].rsplit("/", 1)[1]]
    assert schema["examples"] == [example(SPEC)]
    assert world.client.post(URL, json=schema["examples"][0]).status_code == 200
    assert {"200", "422", "503"} <= set(document["paths"][URL]["post"]["responses"])


def test_the_documentation_page_needs_nothing_from_elsewhere(world: World) -> None:
    shown = world.client.get("/docs")
    assert shown.status_code == 200
    assert URL in shown.text
    assert "N14228" in shown.text
    assert "https://" not in shown.text
    assert "http://" not in shown.text
    assert "default-src 'none'" in shown.headers["content-security-policy"]
