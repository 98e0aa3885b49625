"""Rules of the truth that comes back: it is kept beside its answer, or refused in words, and is no other answer's."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.settings import PROJECT
from tests.integration.serving.worlds import SPEC, World

URL = "/v1/feedback"


def tell(world: World, **told: Any) -> Any:
    return world.client.post(URL, json=told)


def kept(world: World) -> list[tuple[str, Any]]:
    return [(each.prediction_id, each.truth) for each in world.stores.predictions.truths(SPEC.name)]


def test_what_became_of_an_answer_is_kept_beside_it(world: World) -> None:
    answer = world.ask().json()
    known = "2013-04-01T07:00:00+02:00"
    said = tell(world, prediction_id=answer["prediction_id"], truth=1, known_at=known)
    assert said.status_code == 200
    assert said.json() == {"prediction_id": answer["prediction_id"], "model": SPEC.name, "version": 1}
    (truth,) = world.stores.predictions.truths(SPEC.name)
    assert (truth.prediction_id, truth.truth) == (answer["prediction_id"], 1.0)
    assert truth.known_at == datetime(2013, 4, 1, 5, tzinfo=UTC)


def test_a_correction_stands_beside_what_it_corrects(world: World) -> None:
    name = world.ask().json()["prediction_id"]
    for truth in (True, False):
        assert tell(world, prediction_id=name, truth=truth).status_code == 200
    assert kept(world) == [(name, 1.0), (name, 0.0)]


@pytest.mark.parametrize("truth", [2, -1, 0.5, "late", "1", float("inf"), None, [1], {"label": 1}])
def test_a_truth_that_the_model_could_not_have_told_is_refused_and_not_kept(world: World, truth: Any) -> None:
    import json

    name = world.ask().json()["prediction_id"]
    body = json.dumps({"prediction_id": name, "truth": truth})  # inf, too, is written as Python's json does
    said = world.client.post(URL, content=body, headers={"Content-Type": "application/json"})
    assert said.status_code == 422
    assert said.json()["detail"]
    assert kept(world) == []


def test_a_truth_of_nobodys_answer_is_refused(world: World) -> None:
    assert tell(world, prediction_id="none", truth=1).status_code == 404
    assert tell(world, truth=1).status_code == 422
    assert tell(world, prediction_id="none", truth=1, more=2).status_code == 422


def test_nobody_knows_today_what_will_be_known_tomorrow(world: World) -> None:
    name = world.ask().json()["prediction_id"]
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    said = tell(world, prediction_id=name, truth=1, known_at=later)
    assert (said.status_code, "future" in said.json()["detail"]) == (422, True)
    assert tell(world, prediction_id=name, truth=1, known_at="2013-04-01T07:00:00").status_code == 422


def test_a_log_that_takes_nothing_is_told_without_its_words(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = world.ask().json()["prediction_id"]

    def broken(*_: Any) -> None:
        raise ConnectionError("postgresql://ada:hush@10.1.2.3/x is gone")

    monkeypatch.setattr(type(world.stores.predictions), "tell", broken)
    said = tell(world, prediction_id=name, truth=1)
    assert said.status_code == 503
    assert "hush" not in said.text


def test_the_curl_of_the_page_is_taken(world: World) -> None:
    page = (PROJECT / "docs" / "how-to" / "see-how-a-model-does.md").read_text()
    ((header, body),) = re.findall(r"/v1/feedback -H '([^']+)' \\\n\s+-d '([^']+)'", page)
    body = body.replace("PREDICTION_ID", world.ask().json()["prediction_id"])
    said = world.client.post(URL, content=body, headers=dict([header.split(": ")]))
    assert said.status_code == 200, said.text
