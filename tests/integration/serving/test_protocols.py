"""Rules of the other protocols: their clients get the answers of our own route, and its refusals in their words."""

import re
from copy import deepcopy
from typing import Any

import mlflow.pyfunc.scoring_server as scoring
import pandas as pd
import pytest
from open_inference.openapi.client import InferenceRequest, OpenInferenceClient
from open_inference.openapi.errors import BadRequestError, NotFoundError, ServiceUnavailableError

from pipelines.catalog import model
from pipelines.serving.http.open_inference import DATATYPES, described, outputs
from pipelines.serving.lane import MOST
from pipelines.serving.metrics import Metrics
from pipelines.serving.predictor import Predictor
from pipelines.serving.schemas import example
from pipelines.settings import PROJECT
from tests.integration.serving.worlds import SPEC, FeatureTable, Models, World

INFER, INVOCATIONS = "/v2/models/flight_delays/infer", "/v1/models/flight_delays/invocations"
FIELDS = {**SPEC.entities, **SPEC.request}
DISTANCES = [200, 900, 2400]


def row(**changes: Any) -> dict[str, Any]:
    body = example(SPEC)
    return {**body["entities"], **body["request"], **changes}


def flights() -> list[dict[str, Any]]:
    pairs = zip(DISTANCES, ("UA", "AA", "ZZ"), strict=True)
    return [row(distance=distance, carrier=carrier) for distance, carrier in pairs]


def tensors(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "name": n,
            "shape": [len(rows)],
            "datatype": DATATYPES[field.type],
            "data": [each[n] for each in rows],
        }
        for n, field in FIELDS.items()
    ]


def ours(world: World, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What our own route says of each row, without the identity of the answer."""
    said = [world.ask(**each).json() for each in rows]
    return [{k: v for k, v in each.items() if k != "prediction_id"} for each in said]


@pytest.fixture
def client(world: World) -> OpenInferenceClient:
    """The protocol's own client as it comes from PyPI."""
    return OpenInferenceClient(base_url="http://testserver", httpx_client=world.client)


def infer(client: OpenInferenceClient, rows: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    said = client.model_infer(SPEC.name, request=InferenceRequest(inputs=tensors(rows), **more))
    assert said.model_name == SPEC.name
    assert said.model_version == "1"
    return {each.name: each.data.__root__ for each in said.outputs}


def test_an_unmodified_client_gets_the_same_answers(client: OpenInferenceClient, world: World) -> None:
    said, own = infer(client, flights()), ours(world, flights())
    assert said["probability"] == [each["probability"] for each in own]
    assert len(set(said["probability"])) > 1
    assert said["decision"] == [each["decision"] for each in own]
    assert said["degraded"] == [False, True, True]


def test_each_of_its_answers_is_in_the_log(client: OpenInferenceClient, world: World) -> None:
    said = infer(client, flights())
    for number, name in enumerate(said["prediction_id"]):
        logged = world.stores.predictions.get(name)
        assert logged.answer == said["probability"][number]
        assert logged.request["distance"] == DISTANCES[number]
    assert world.stores.predictions.count(SPEC.name) == len(DISTANCES)


def test_a_client_finds_out_what_to_send_and_that_the_server_is_ready(client: OpenInferenceClient) -> None:
    client.check_server_liveness()
    client.check_server_readiness()
    client.check_model_readiness(SPEC.name)
    client.check_model_version_readiness(SPEC.name, "1")
    assert client.read_server_metadata().name == "evergreen"
    known = client.read_model_metadata(SPEC.name)
    assert known.versions == ["1"]
    assert {each.name: each.datatype for each in known.inputs} == {
        name: DATATYPES[field.type] for name, field in FIELDS.items()
    }
    assert client.read_model_version_metadata(SPEC.name, "1") == known


def test_before_there_is_a_champion_a_client_is_told_that_it_is_not_ready(empty: World) -> None:
    client = OpenInferenceClient(base_url="http://testserver", httpx_client=empty.client)
    client.check_server_liveness()
    for ask in (client.check_server_readiness, lambda: client.check_model_readiness(SPEC.name)):
        with pytest.raises(ServiceUnavailableError) as told:
            ask()
        assert "champion" in told.value.body["error"]
    assert client.read_model_metadata(SPEC.name).versions == []


def test_a_version_that_does_not_answer_is_not_there(client: OpenInferenceClient, world: World) -> None:
    with pytest.raises(NotFoundError) as told:
        client.check_model_version_readiness(SPEC.name, "7")
    assert told.value.body == {"error": "version 1 of flight_delays answers, no other"}
    path = INFER.replace("infer", "versions/7/infer")
    assert world.client.post(path, json={"inputs": tensors(flights())}).status_code == 404
    assert world.stores.predictions.count(SPEC.name) == 0
    asked = world.client.post(INFER.replace("infer", "versions/1/infer"), json={"inputs": tensors(flights())})
    assert asked.json()["model_version"] == "1"


def test_only_the_outputs_that_are_asked_for_come_and_the_id_comes_back(client: OpenInferenceClient) -> None:
    asked = InferenceRequest(id="mine", inputs=tensors(flights()), outputs=[{"name": "decision"}])
    said = client.model_infer(SPEC.name, request=asked)
    assert said.id == "mine"
    assert [each.name for each in said.outputs] == ["decision"]


BROKEN = {
    "a field that there is not": (lambda t: t.append({**t[0], "name": "speed"}), "no field 'speed'"),
    "a field is missing": (lambda t: t.pop(), "distance"),
    "columns of two lengths": (lambda t: t[0].update(data=["UA"], shape=[1]), "not of one length"),
    "a shape that is not its values'": (lambda t: t[0].update(shape=[7]), "shape [7]"),
    "a datatype that is not the field's": (lambda t: t[-1].update(datatype="BYTES"), "INT64 is asked for"),
    "a value that is no time": (lambda t: t[4]["data"].__setitem__(1, "soon"), "row 1, request."),
    "no row": (lambda t: [each.update(data=[], shape=[0]) for each in t], "at least one"),
    "more rows than are taken": (
        lambda t: [each.update(data=each["data"][:1] * (MOST + 1), shape=[MOST + 1]) for each in t],
        f"at most {MOST}",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_request_that_cannot_be_answered_is_refused_in_words_and_none_of_it_is_logged(
    what: str, client: OpenInferenceClient, world: World
) -> None:
    inputs = tensors(deepcopy(flights()))
    change, named = BROKEN[what]
    change(inputs)
    with pytest.raises(BadRequestError) as told:
        client.model_infer(SPEC.name, request=InferenceRequest(inputs=inputs))
    assert named in told.value.body["error"]
    assert world.stores.predictions.count(SPEC.name) == 0


@pytest.mark.parametrize("body", [{}, {"inputs": 3}, {"inputs": [{"name": "carrier"}]}, []])
def test_a_body_that_is_no_request_of_the_protocol_is_told_so_in_its_words(body: Any, world: World) -> None:
    said = world.client.post(INFER, json=body)
    assert said.status_code == 400
    assert set(said.json()) == {"error"}


def test_a_model_that_there_is_not_is_told_of_in_each_protocols_words(world: World) -> None:
    said = world.client.post(INFER.replace("flight_delays", "tides"), json={"inputs": tensors(flights())})
    assert (said.status_code, list(said.json())) == (404, ["error"])
    said = world.client.post(INVOCATIONS.replace("flight_delays", "tides"), json={"inputs": flights()})
    assert (said.status_code, list(said.json())) == (404, ["error_code", "message"])


def test_whole_numbers_that_a_client_writes_as_floats_are_whole_numbers(world: World) -> None:
    inputs = tensors(flights())
    inputs[-1]["data"] = [float(distance) for distance in DISTANCES]
    said = world.client.post(INFER, json={"inputs": inputs}).json()
    assert len(said["outputs"][0]["data"]) == len(DISTANCES)
    inputs[-1]["data"][0] = 200.5
    assert world.client.post(INFER, json={"inputs": inputs}).status_code == 400


@pytest.mark.parametrize("name", ["card_fraud", "airport_hours"])
def test_a_model_of_any_kind_says_what_it_is_asked_and_what_it_answers(name: str) -> None:
    spec = model(name)
    predictor = Predictor(spec, Models(), FeatureTable(), Metrics())
    said = described(predictor)
    assert [each["name"] for each in said["inputs"]] == [*spec.entities, *spec.request]
    assert [each["name"] for each in said["outputs"]] == [name for name, *_ in outputs(spec)]


def mlflows(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    frame = pd.DataFrame(rows)
    return {
        "dataframe_split": {"dataframe_split": frame.to_dict(orient="split")},
        "dataframe_records": {"dataframe_records": frame.to_dict(orient="records")},
        "instances": {"instances": rows},
        "inputs": {"inputs": frame.to_dict(orient="list")},
    }


@pytest.mark.parametrize("form", ["dataframe_split", "dataframe_records", "instances", "inputs"])
def test_a_body_as_mlflows_clients_send_it_gets_the_same_answers(form: str, world: World) -> None:
    body = mlflows(flights())[form]
    assert scoring.infer_and_parse_data(deepcopy(body)) is not None  # MLflow's own server takes it
    said = world.client.post(INVOCATIONS, json=body).json()["predictions"]
    own = ours(world, flights())
    assert [{k: v for k, v in each.items() if k != "prediction_id"} for each in said] == [
        {k: v for k, v in each.items() if k != "model"} for each in own
    ]
    for each in said:
        assert world.stores.predictions.get(each["prediction_id"]) is not None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"columns": ["carrier"], "data": [["UA"]]},
        {"dataframe_records": [{"carrier": "UA"}]},
        {"dataframe_records": [1]},
        {"dataframe_records": "UA"},
        {"dataframe_split": {"columns": ["carrier", "origin"], "data": [["UA"]]}},
        {"dataframe_split": {"columns": ["carrier", "carrier"], "data": [["UA", "AA"]]}},
        {"instances": [row()], "inputs": [row()]},
        {"instances": [row()], "params": {"probability": True}},
        {"inputs": {"carrier": ["UA"], "origin": ["EWR", "JFK"]}},
    ],
)
def test_a_body_that_asks_nothing_is_refused_in_mlflows_words(body: dict[str, Any], world: World) -> None:
    said = world.client.post(INVOCATIONS, json=body)
    assert said.status_code == 400
    assert said.json()["error_code"] == "BAD_REQUEST"
    assert said.json()["message"]
    assert world.stores.predictions.count(SPEC.name) == 0


def test_rows_of_one_request_are_answered_all_or_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(self: Any, rows: pd.DataFrame) -> list[float]:
        if 900 in set(rows.distance):
            raise ValueError("not this one")
        return [0.5] * len(rows)

    monkeypatch.setattr("pipelines.serving.served.Served.answers", answers)
    said = world.client.post(INVOCATIONS, json={"instances": flights()})
    assert said.status_code == 503
    assert world.stores.predictions.count(SPEC.name) == 0
    assert world.client.post(INVOCATIONS, json={"instances": flights()[:1]}).status_code == 200


def test_requests_of_every_protocol_are_counted(world: World, client: OpenInferenceClient) -> None:
    infer(client, flights())
    world.client.post(INVOCATIONS, json={"instances": flights()})
    world.ask()
    assert world.metric("evergreen_requests_total", model=SPEC.name, status="200") == 3


PAGE = (PROJECT / "docs" / "how-to" / "ask-for-predictions.md").read_text()


def blocks() -> list[str]:
    """The page's Python."""
    return re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_each_curl_of_the_page_is_answered(world: World) -> None:
    asked = re.findall(r"curl -s http://127\.0\.0\.1:8000(\S+) -H '([^']+)' -d '([^']+)'", PAGE)
    assert len(asked) == 2
    for path, header, body in asked:
        said = world.client.post(path, content=body, headers=dict([header.split(": ")]))
        assert said.status_code == 200, said.text


def test_the_page_shows_how_the_protocols_client_asks(
    client: OpenInferenceClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (shown,) = [each for each in blocks() if "open_inference" in each]
    monkeypatch.setattr("open_inference.openapi.client.OpenInferenceClient", lambda base_url: client)
    exec(shown, {})  # noqa: S102 - our own page
    assert "probability" in capsys.readouterr().out
