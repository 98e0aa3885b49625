"""Rules of explanations over HTTP: of the answer and version they name, beside answering, and telling no one's row."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pytest
from fastapi.testclient import TestClient

from pipelines.contracts import EvergreenError, TransientError
from pipelines.models.flight_delays.estimator import build
from pipelines.serving.app import create_app
from pipelines.serving.http.client import Client
from pipelines.serving.schemas import example
from pipelines.settings import PROJECT, Settings
from pipelines.stores import Stores
from pipelines.stores.tracking.background import Without
from tests.integration.serving.worlds import (
    FEATURES,
    SPEC,
    URL,
    FeatureTable,
    Models,
    Version,
    World,
    flights,
    wait,
)

ASK, LOGGED = f"/v1/models/{SPEC.name}/explanations", "/v1/explanations"


@dataclass
class Rows:
    """Where background rows come from; `wait` may hold up who asks."""

    found: pd.DataFrame = field(default_factory=lambda: flights().tail(30))
    wait: Callable[[], object] = lambda: None
    lacking: bool = False

    def __call__(self, model: str, version: int, digest: str) -> pd.DataFrame:
        self.wait()
        if self.lacking:
            raise Without(f"{model} version {version} was registered without background rows; train it again")
        return self.found


Made = Callable[..., tuple[World, Rows]]


@pytest.fixture(scope="module")
def pipeline() -> Any:
    """The model's own pipeline, for which inputs matter together: carrier, origin, distance and the features."""
    rows = flights()
    first, second, third = (rows[name] for name in FEATURES)
    late = (rows.distance > 1500) * first + (rows.carrier == "UA") * second + (rows.origin == "JFK") * third
    return build({"max_iter": 20, "min_samples_leaf": 5}).fit(rows, late > 0.3)


@pytest.fixture
def made(stores: Stores, pipeline: Any) -> Iterator[Made]:
    """Makes an app with version 1 as champion that explains by 30 rows."""
    opened = []

    def make(**more: Any) -> tuple[World, Rows]:
        quick = Settings(_env_file=None, home=stores.settings.home, serving_poll_seconds=0.02, **more)
        models, features, rows = Models(Version(1, "one"), {1: pipeline}), FeatureTable(), Rows()
        app = create_app(quick, {SPEC.name: SPEC}, models, features, stores.predictions, backgrounds=rows)
        client = TestClient(app, raise_server_exceptions=False)
        opened.append(client)
        world = World(app, client.__enter__(), models, features, stores)
        wait(lambda: world.serving() == 1)
        return world, rows

    yield make
    for client in opened:
        client.__exit__(None, None, None)


def asked(world: World, **options: Any) -> Any:
    return world.client.post(ASK, json=example(SPEC), params={"evaluations": 1_000, **options})


def again(world: World, prediction_id: str, **options: Any) -> Any:
    params = {"evaluations": 1_000, **options}
    return world.client.post(LOGGED, json={"prediction_id": prediction_id}, params=params)


def test_an_explanation_is_a_sum_over_the_inputs_that_makes_the_answer(made: Made, pipeline: Any) -> None:
    world, rows = made()
    told = asked(world).json()
    assert told["answer"] == world.ask().json()["probability"]
    assert (told["of"], told["unit"], told["version"]) == ("arrives_late", "probability", 1)
    inputs = [each["input"] for each in told["contributions"]]
    assert sorted(inputs) == sorted(pipeline.feature_names_in_)
    parts = [each["contribution"] for each in told["contributions"]]
    used = rows.found.head(told["background_rows"])
    assert told["base"] == pytest.approx(pipeline.predict_proba(used)[:, 1].mean(), abs=1e-12)
    assert told["base"] + sum(parts) == pytest.approx(told["answer"], abs=1e-12)
    assert parts == sorted(parts, key=lambda part: -abs(part))
    assert parts[inputs.index("tailnum")] == 0
    assert (told["exact"], told["background_rows"]) == (False, 27)
    assert told["evaluations"] <= 1_000
    assert max(each["standard_error"] for each in told["contributions"]) > 0


def test_a_question_that_is_explained_is_an_answer_in_the_log_and_explained_again_by_its_id(
    made: Made,
) -> None:
    world, _ = made()
    told = asked(world).json()
    logged = world.stores.predictions.get(told["prediction_id"])
    assert logged is not None
    assert (logged.answer, logged.version) == (told["answer"], told["version"])
    assert again(world, told["prediction_id"]).json() == told
    other = asked(world).json()
    assert other["prediction_id"] != told["prediction_id"]
    assert other | {"prediction_id": ""} == told | {"prediction_id": ""}


def test_an_answer_is_explained_by_the_features_it_was_given_with(made: Made) -> None:
    world, _ = made()
    before = world.ask().json()
    world.features.values["UA"] = dict.fromkeys(world.features.values["UA"], -1.0)
    assert world.ask().json()["probability"] != before["probability"]
    assert again(world, before["prediction_id"]).json()["answer"] == before["probability"]


def test_features_that_were_missing_are_explained_as_missing(made: Made) -> None:
    world, _ = made()
    world.features.down = True
    answer = world.ask().json()
    assert answer["degraded"]
    told = again(world, answer["prediction_id"]).json()
    parts = [each["contribution"] for each in told["contributions"]]
    assert told["base"] + sum(parts) == pytest.approx(answer["probability"], abs=1e-12)


def test_the_version_before_explains_its_answers_and_one_that_is_gone_names_the_command(
    made: Made, pipeline: Any
) -> None:
    world, _ = made()
    answer = world.ask().json()["prediction_id"]
    world.models.loads |= {2: pipeline, 3: pipeline}
    for number in (2, 3):
        world.models.alias = Version(number, f"digest {number}")
        wait(lambda number=number: world.serving() == number)  # type: ignore[misc]
        if number == 2:
            assert again(world, answer).json()["version"] == 1
    refused = again(world, answer)
    assert refused.status_code == 409
    assert "loaded: 3, 2" in refused.json()["detail"]
    assert f"evergreen explain {answer} --contributions" in refused.json()["detail"]


def test_no_row_that_was_trained_on_is_told(made: Made) -> None:
    world, rows = made()
    rows.found = rows.found.assign(carrier="ZQXJ", tailnum="N00SECRET", distance=7654321)
    told = asked(world)
    assert told.status_code == 200
    for secret in ("ZQXJ", "N00SECRET", "7654321"):
        assert secret not in told.text
    rows.found = rows.found.drop(columns="distance")
    world.models.alias = Version(1, "another file")
    wait(lambda: world.client.get("/v1/models/flight_delays").json()["digest"] == "another file")
    refused = asked(world)
    assert (refused.status_code, "lack distance" in refused.text, "ZQXJ" in refused.text) == (
        409,
        True,
        False,
    )


def test_a_version_without_rows_is_refused_with_the_remedy_and_nothing_is_logged(made: Made) -> None:
    world, rows = made()
    rows.lacking = True
    refused = asked(world)
    assert (refused.status_code, "train it again" in refused.json()["detail"]) == (409, True)
    assert world.stores.predictions.count(SPEC.name) == 0


def test_a_server_without_such_rows_says_so(world: World) -> None:
    refused = asked(world)
    assert (refused.status_code, "without the rows" in refused.json()["detail"]) == (409, True)


def test_what_nobody_can_explain_is_refused_by_name(made: Made) -> None:
    world, _ = made()
    assert again(world, "nobody's").status_code == 404
    assert world.client.post(ASK.replace("flight", "ship"), json={}).status_code == 404
    assert asked(world, of="late, surely").status_code == 409
    for evaluations in (1, 10**9):
        refused = asked(world, evaluations=evaluations)
        assert refused.status_code == 422
        assert refused.json()["fields"][0]["field"] == "evaluations"
    body = example(SPEC)
    del body["entities"]["carrier"]
    wrong = world.client.post(ASK, json=body)
    assert wrong.status_code == 422
    assert "send a string, such as" in wrong.json()["fields"][0]["remedy"]


def test_without_a_champion_there_is_nothing_to_explain_either(empty: World) -> None:
    assert asked(empty).status_code == 503


def test_while_one_is_explained_others_are_refused_and_all_are_answered(made: Made) -> None:
    world, rows = made()
    begun, held = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert held.wait(30)

    rows.wait, said = hold, []
    first = threading.Thread(target=lambda: said.append(asked(world)))
    first.start()
    assert begun.wait(30)
    refused = asked(world)
    answered = [world.ask().status_code for _ in range(3)]
    held.set()
    first.join(30)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert "another explanation" in refused.json()["detail"]
    assert answered == [200, 200, 200]
    assert said[0].status_code == 200
    assert asked(world).status_code == 200


def test_one_that_takes_too_long_is_given_up_and_names_what_takes_its_time(made: Made) -> None:
    world, _ = made(serving_explanation_seconds=1e-6)
    answer = world.ask().json()["prediction_id"]
    refused = again(world, answer)
    assert refused.status_code == 503
    assert f"evergreen explain {answer} --contributions" in refused.json()["detail"]
    assert world.ask().status_code == 200


def test_a_log_that_cannot_be_read_is_told_without_its_address(
    made: Made, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world, _ = made()
    answer = world.ask().json()["prediction_id"]

    def broken(*_: Any) -> Any:
        raise ConnectionError("postgresql://ada:hush@db")

    monkeypatch.setattr(type(world.stores.predictions), "get", broken)
    refused = again(world, answer)
    assert refused.status_code == 503
    assert "hush" not in refused.text + caplog.text


@pytest.mark.parametrize("kind", [EvergreenError, TransientError, OSError])
def test_rows_that_cannot_be_had_are_told_without_what_the_error_says(
    made: Made, caplog: pytest.LogCaptureFixture, kind: type[Exception]
) -> None:
    world, rows = made()

    def broken() -> None:
        raise kind("/home/ada/keys/verifying.pem is missing: hush")

    rows.wait = broken
    refused = asked(world)
    assert refused.status_code == (409 if kind is EvergreenError else 503)
    assert refused.json()["detail"]
    assert "could not be explained" in caplog.text
    assert not [word for word in ("hush", "ada", ".pem") if word in refused.text + caplog.messages[-1]]


def test_explanations_are_counted_by_themselves(made: Made) -> None:
    world, _ = made()
    for _ in range(2):
        assert asked(world).status_code == 200
    again(world, "nobody's")
    counted = {"name": "evergreen_explanations_total"}
    assert world.metric(**counted, model=SPEC.name, status="200") == 2
    assert world.metric(**counted, model="unknown", status="404") == 1
    assert world.metric("evergreen_explanation_seconds_count") == 3
    assert world.metric("evergreen_requests_total") == 0


def test_the_typed_client_explains_an_answer(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    world, _ = made()
    answer = world.ask().json()

    def passed_on(self: Client, path: str, body: Any) -> Any:
        return world.client.post(path, json=body).json()

    monkeypatch.setattr(Client, "_post", passed_on)
    told = Client().explain(answer["prediction_id"], 1_000, "arrives_late")
    assert told.answer == answer["probability"]
    assert told.base + sum(each.contribution for each in told.contributions) == pytest.approx(told.answer)


def test_the_page_shows_how_to_ask_and_what_is_told(made: Made) -> None:
    world, _ = made()
    page = (PROJECT / "docs" / "how-to" / "explain-an-answer.md").read_text()
    asked = re.findall(r"curl -s http://127\.0\.0\.1:8000(\S+) -H '([^']+)' -d '([^']+)'", page)
    assert [path for path, *_ in asked] == [ASK, LOGGED]
    for path, header, body in asked:
        content = body.replace("PREDICTION_ID", world.ask().json()["prediction_id"])
        said = world.client.post(path, content=content, headers=dict([header.split(": ")]))
        assert said.status_code == 200, said.text
        (shown,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
        assert {*json.loads(shown)} <= {*said.json()}
        assert {*json.loads(shown)["contributions"][0]} == {*said.json()["contributions"][0]}


def test_the_pages_name_the_routes(made: Made) -> None:
    world, _ = made()
    paths = world.client.get("/openapi.json").json()["paths"]
    assert {ASK, LOGGED, URL} <= {*paths}
    assert "background_rows" in world.client.get("/docs").text
    assert json.loads(json.dumps(paths[ASK]))["post"]["operationId"] == f"explain_{SPEC.name}"
