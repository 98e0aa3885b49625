"""Rules of the API whose callers bring tokens: the table of routes holds for them as it does for keys."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pipelines.serving.app import create_app
from pipelines.serving.causes import Discreet
from pipelines.serving.door.issuer import Issuer
from pipelines.serving.door.tokens import Tokens, Wanted
from pipelines.serving.schemas import example
from pipelines.stores import Stores
from pipelines.stores.api_keys import SCOPES
from tests.doors import AUDIENCE, ISSUER, SUBJECT, Published, shown, token
from tests.integration.serving.test_keys import TABLE, Locked
from tests.integration.serving.worlds import SPEC, URL, FeatureTable, Models, Version, wait


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture
def signed(stores: Stores, pipeline: Any, published: Published) -> Iterator[Locked]:
    """An app that asks for tokens."""
    door = Tokens(Issuer(published, 1.0, 0.02), Wanted(ISSUER, AUDIENCE, per_second=1_000))
    models = Models(Version(1, "one"), {1: pipeline})
    app = create_app(stores.settings, {SPEC.name: SPEC}, models, FeatureTable(), stores.predictions, door)
    with TestClient(app, raise_server_exceptions=False) as client:
        wait(lambda: client.get("/ready").status_code == 200)
        yield Locked(client, stores)


def test_each_route_lets_in_whose_token_is_good_for_it_and_no_others(signed: Locked) -> None:
    shut, tried = {401, 403}, 0
    wait(lambda: signed.ask(token()).status_code == 200)
    for path, needed in TABLE.items():
        method, name = (
            ("POST" if needed in {"predict", "feedback"} else "GET"),
            path.format(model=SPEC.name, version=1),
        )
        bad = token(scope=" ".join(scope for scope in SCOPES if scope != needed))
        refused = [
            signed.call(method, name, each).status_code for each in (None, "guess", token(number=1), bad)
        ]
        assert [status in shut for status in refused] == [needed is not None] * 4, path
        assert signed.call(method, name, token(scope=needed or "")).status_code not in shut | {503}, path
        tried += needed is not None
    assert tried > 10


def test_while_the_issuer_is_down_who_was_known_is_answered_and_new_keys_come_by_themselves(
    signed: Locked, published: Published
) -> None:
    wait(lambda: signed.ask(token()).status_code == 200)
    published.down, asked = True, published.asked
    wait(lambda: published.asked > asked)
    assert signed.ask(token()).status_code == 200
    published.down, published.keys = False, [shown(number=1)]
    wait(lambda: signed.ask(token(number=1)).status_code == 200)
    assert signed.ask(token()).status_code == 401


def test_nobody_is_let_in_before_the_keys_were_read_and_no_log_tells_who_asked(
    signed: Locked, published: Published, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    published.down = True
    again = Locked(TestClient(signed.client.app), signed.stores)
    door = Tokens(Issuer(published), Wanted(ISSUER, AUDIENCE))
    app = create_app(
        again.stores.settings, {SPEC.name: SPEC}, Models(), FeatureTable(), again.stores.predictions, door
    )
    mine = token()
    with TestClient(app) as client:
        said = client.post(URL, json=example(SPEC), headers={"Authorization": f"Bearer {mine}"})
        assert (said.status_code, said.headers["Retry-After"]) == (503, "1")
        assert client.get("/health").status_code == 200
        wait(lambda: "cannot be read" in caplog.text)
    wait(lambda: signed.ask(mine).status_code == 200)
    logged = "".join(Discreet().format(record) for record in caplog.records)
    assert not [word for word in (SUBJECT, mine, ISSUER) if word in logged]
