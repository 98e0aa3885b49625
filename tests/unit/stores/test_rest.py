"""A silent MLflow is asked once a look, however many models there are; one that answers with an error is asked on.

It is told who asks as its own client would tell it, and nobody that it points to is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from threading import Thread
from typing import Any
from urllib.error import HTTPError

import pytest

from pipelines.contracts import TransientError
from pipelines.stores.tracking import rest
from pipelines.stores.tracking.rest import Rest

MODELS = ["a", "b", "c"]


def looked(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> tuple[list[str], int]:
    """What each model's lookup says, and how often the server was asked."""
    asked = list[str]()

    def fails(request: Any, **_: Any) -> None:
        asked.append(request.full_url)
        raise fault

    monkeypatch.setattr(rest, "urlopen", fails)
    named, said = Rest("http://127.0.0.1:1").every("champion"), []
    for model in MODELS:
        with pytest.raises(TransientError) as error:
            named(model)
        said.append(str(error.value))
    return said, len(asked)


def test_once_it_was_silent_the_other_models_are_told_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said, asked = looked(monkeypatch, TimeoutError("timed out"))
    assert asked == 1
    assert len(set(said)) == 1
    assert "does not answer" in said[0]
    assert looked(monkeypatch, TimeoutError("timed out"))[1] == 1  # the next look asks again


def test_an_error_of_one_model_says_nothing_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = HTTPError("http://127.0.0.1:1", 500, "no", Message(), BytesIO(b"{}"))
    said, asked = looked(monkeypatch, fault)
    assert asked == len(MODELS)
    assert all("answered 500" in each for each in said)


@contextmanager
def server(to: str | None = None) -> Iterator[tuple[str, list[str | None]]]:
    """A server that has no models, or says that all is elsewhere; and what each request said of who asks."""
    heard = list[str | None]()

    class Heard(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.headers.get("Authorization"))
            self.send_response(302 if to else 200)
            if to:
                self.send_header("Location", to + self.path)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Heard) as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", heard
        running.shutdown()


@pytest.mark.parametrize(
    ("login", "variables"),
    [
        (("me", "w:rd"), {}),
        (None, {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "w:rd"}),
        (None, {"MLFLOW_TRACKING_TOKEN": "long"}),
        (
            None,
            {
                "MLFLOW_TRACKING_TOKEN": "long",
                "MLFLOW_TRACKING_USERNAME": "me",
                "MLFLOW_TRACKING_PASSWORD": "x",
            },
        ),
        (None, {"MLFLOW_TRACKING_TOKEN": "long", "MLFLOW_TRACKING_USERNAME": "me"}),
        (None, {}),
    ],
)
def test_it_says_who_asks_as_mlflows_client_would_and_only_where_it_is_asked(
    login: tuple[str, str] | None, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    for name in (rest.USER, rest.WORD, rest.TOKEN):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with server() as (address, heard):
        assert Rest(address, login).models() == {}
        user, word = login or (None, None)
        with monkeypatch.context() as told:
            if user and word:
                told.setenv(rest.USER, user)
                told.setenv(rest.WORD, word)
            assert list(MlflowClient(address, address).search_registered_models()) == []
        assert len(heard) == 2
        assert heard[0] == heard[1]
        assert (heard[0] is None) == (login is None and not variables)
        with server(to=address) as (first, asked):
            assert Rest(first, login).models() == {}
        assert asked == heard[:1]
        assert heard[2:] == [None]
