"""Rules of the Python client: answers are typed, refusals name each field, and it waits where the server says so."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import uvicorn

from pipelines.contracts import EvergreenError, TransientError
from pipelines.serving.http.client import Client
from pipelines.serving.schemas import Answer, example
from tests.integration.serving.test_protocols import blocks
from tests.integration.serving.worlds import SPEC, World, wait

ASKED = example(SPEC)


@pytest.fixture
def address(world: World) -> Iterator[str]:
    """The app on a port of its own."""
    server = uvicorn.Server(uvicorn.Config(world.app, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait(lambda: server.started)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


def test_an_answer_is_typed_and_can_be_told_its_truth(world: World, address: str) -> None:
    client = Client(address)
    request = {**ASKED["request"], "scheduled_departure": datetime(2013, 4, 1, 12, tzinfo=UTC)}
    said = client.predict(SPEC.name, ASKED["entities"], request)
    assert isinstance(said, Answer)
    assert 0 <= said.probability <= 1
    logged = world.stores.predictions.get(said.prediction_id)
    assert logged is not None
    assert logged.event_time == request["scheduled_departure"]
    client.tell(said.prediction_id, 1, datetime(2013, 4, 1, 16, tzinfo=UTC))
    (truth,) = world.stores.predictions.truths(SPEC.name)
    assert (truth.truth, truth.known_at) == (1.0, datetime(2013, 4, 1, 16, tzinfo=UTC))


def test_the_pages_python_prints_an_answer(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    (shown,) = [each for each in blocks() if "http.client" in each]
    assert "http://127.0.0.1:8000" in shown
    exec(shown.replace("http://127.0.0.1:8000", address), dict(ASKED))  # noqa: S102 - our own page
    probability, version, *_ = capsys.readouterr().out.split()
    assert 0 <= float(probability) <= 1
    assert version == "1"


def test_a_refusal_names_the_field_and_the_remedy(address: str) -> None:
    with pytest.raises(EvergreenError, match=r"422.*request\.distance.*send a.* number"):
        Client(address).predict(SPEC.name, ASKED["entities"], ASKED["request"] | {"distance": "far"})
    with pytest.raises(EvergreenError, match="404"):
        Client(address).tell("nobody's", 1)


def test_where_nobody_listens_it_says_so() -> None:
    with pytest.raises(TransientError, match="does not answer"):
        Client("http://127.0.0.1:9").predict(SPEC.name, **ASKED)


def test_it_waits_as_long_as_the_server_says_and_no_longer_than_its_patience(
    world: World, address: str
) -> None:
    served, waits = world.app.state.lane, []

    def busy() -> bool:
        return True

    usual, served.crowded = served.crowded, busy

    def waited(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            served.crowded = usual

    assert isinstance(Client(address, wait=waited).predict(SPEC.name, **ASKED), Answer)
    assert waits == [1.0, 1.0]
    served.crowded = busy
    with pytest.raises(TransientError, match="503"):
        Client(address, patience=2.0, wait=lambda _: None).predict(SPEC.name, **ASKED)


def test_a_key_is_named_and_a_missing_one_is_told(world: World, address: str, monkeypatch: Any) -> None:
    seen: list[Any] = []

    def urlopen(asked: Any, timeout: float, context: Any) -> Any:
        seen.append(asked.get_header("Authorization"))
        raise ConnectionError("enough")

    monkeypatch.setattr("pipelines.serving.http.client.urlopen", urlopen)
    for key in ("k", None):
        with pytest.raises(TransientError):
            Client(address, key).predict(SPEC.name, **ASKED)
    assert seen == ["Bearer k", None]
