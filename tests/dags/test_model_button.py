"""The button of the page Model, clicked with a mouse in a real browser."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from pipelines.prove.promotion.world import World
from tests.champions import entries
from tests.dags import browser
from tests.dags.test_model_page import PAGE, champion, world

__all__ = ["world"]

pytestmark = pytest.mark.skipif(browser.program() is None, reason="there is no Chromium here")


@pytest.fixture
def address(world: World) -> Iterator[str]:
    """The pages as Airflow's API server has them, asked by somebody who may start runs."""
    from airflow.api_fastapi.app import init_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user
    from airflow.utils.db import initdb
    from evergreen_airflow.pages import app

    initdb()
    init_auth_manager()
    app.dependency_overrides = {get_user: lambda: SimpleAuthManagerUser(username="ada", role="user")}
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    app.dependency_overrides = {}


def test_a_click_rolls_back_and_the_page_shows_it(world: World, address: str, tmp_path: Path) -> None:
    with browser.opened(address + PAGE, tmp_path / "browser") as page:
        page.until(lambda text: "Roll back" in text and "Versions" in text)
        page.click("button[name=go]")  # without a reason the browser asks for one, and nothing is sent
        assert champion(world) == 2
        page.click("input[name=reason]")
        page.write("late flights <b>in Boston</b>")
        page.click("button[name=go]")
        text = page.until(lambda text: "rolled back to by ui: ada" in text)
        page.picture(tmp_path / "after.png")
    assert "late flights <b>in Boston</b>" in text
    assert champion(world) == 1
    last = entries(world, world.stores)[-1]
    assert (last.action, last.who) == ("rollback", "ui: ada")


def test_what_cannot_be_done_is_said_beside_the_button(world: World, address: str, tmp_path: Path) -> None:
    with browser.opened(address + PAGE, tmp_path / "browser") as page:
        page.until(lambda text: "Roll back" in text)
        page.click("input[name=to]")
        page.write("4")
        page.click("input[name=reason]")
        page.write("late flights")
        page.click("button[name=go]")
        page.until(lambda text: "has not passed its gate" in text)
        assert page.js("document.querySelector('button[name=go]').disabled") is False
    assert champion(world) == 2
