"""A silent MLflow is asked once a look, however many models there are; one that answers with an error is asked on."""

from email.message import Message
from io import BytesIO
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
