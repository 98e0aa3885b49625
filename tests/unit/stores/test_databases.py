"""A database server that is not there is given up in time, not when the kernel does."""

import socket
import traceback
from typing import Any

import pytest
import sqlalchemy as sa

from pipelines.contracts import EvergreenError
from pipelines.stores.databases import UNREACHABLE, engine


def connects_with(url: str) -> dict[str, Any]:
    """What the driver would be told; nothing is connected to."""
    made, seen = engine(url), dict[str, Any]()

    @sa.event.listens_for(made, "do_connect")
    def _(_dialect: Any, _record: Any, _args: Any, told: dict[str, Any]) -> None:
        seen.update(told)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        made.connect()
    return seen


def test_postgresql_is_given_up_in_time_and_what_the_url_says_itself_counts() -> None:
    assert UNREACHABLE["connect_timeout"] <= 10
    usual = connects_with("postgresql+psycopg2://me:word@db/evergreen")
    assert usual.items() >= UNREACHABLE.items()
    told = connects_with("postgresql+psycopg2://me:word@db/evergreen?connect_timeout=3&keepalives_count=9")
    assert (told["connect_timeout"], told["keepalives_count"]) == ("3", "9")
    assert told["tcp_user_timeout"] == UNREACHABLE["tcp_user_timeout"]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg2://ada:hush@db:hush/x",
        "postgresql//ada:hush@db/x",
        "hush://ada:hush@db/x",
        "postgresql+hush://ada@db/x",
        "",
    ],
)
def test_a_url_that_is_none_is_refused_in_words_that_do_not_repeat_it(url: str) -> None:
    with pytest.raises(EvergreenError, match="EVERGREEN_DATABASE_URL") as caught:
        engine(url)
    assert "hush" not in "".join(traceback.format_exception(caught.value))


def test_a_server_that_accepts_and_never_answers_is_an_error_of_the_driver() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(sa.exc.OperationalError, match="timeout expired"):
            engine(f"postgresql+psycopg2://me@127.0.0.1:{port}/evergreen?connect_timeout=2").connect()
