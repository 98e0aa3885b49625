"""A process of its own that takes messages to people by Apprise, and says of each whether it got there.

Whoever started it may end it at any time: a hook that hangs, drips or answers without end holds up nobody else, and
what Apprise prints or logs, in which addresses may stand, goes nowhere.
"""

import json
import logging
import os
import sys
from contextlib import suppress
from threading import Lock, Thread
from typing import Any, TextIO

MEMORY = 2 << 30
"""Bytes of address space; an answer without end ends this process before it ends the machine."""
TYPES = {"info": "info", "warning": "warning", "critical": "failure"}
PATIENCE = 5.0
"""Seconds that connecting, and each part of an answer, may take."""
_SAYING = Lock()


def main() -> None:
    """Read the order from stdin; say [address, message, delivered] for each on stdout, as they end."""
    said = os.fdopen(os.dup(1), "w")
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    order = json.loads(sys.stdin.read())
    import apprise  # noqa: F401 - before the memory is bounded

    logging.disable(logging.CRITICAL)
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    _carry(order, said)


def _carry(order: dict[str, Any], said: TextIO) -> None:
    """A thread for each address, as one that hangs must not keep the others waiting."""
    threads = []
    for place, address in enumerate(order["addresses"]):
        arguments = (place, address, order["messages"], said)
        threads.append(Thread(target=_told, args=arguments, daemon=True))
        threads[-1].start()
    for thread in threads:
        thread.join()
    os._exit(0)


def _told(place: int, address: str, messages: list[dict[str, str]], said: TextIO) -> None:
    """Without messages only whether Apprise can use the address."""
    way = None
    with suppress(Exception):
        way = _way(address)
    if way is None or not messages:
        return _say(said, [place, None, way is not None])
    for number, message in enumerate(messages):
        done = False
        with suppress(Exception):
            done = bool(way.notify(**message | {"notify_type": TYPES[message["notify_type"]]}))
        _say(said, [place, number, done])


def _way(address: str) -> Any:
    """Apprise with this one address, that follows no redirect and takes text as text; None if it cannot be used."""
    from apprise import Apprise, AppriseAsset, NotifyFormat

    asset = AppriseAsset(
        app_id="Evergreen", app_desc="Evergreen", async_mode=False, http_redirects=False, body_format=NotifyFormat.TEXT,
        interpret_escapes=False, interpret_emojis=False, storage_mode="memory", pgp_autogen=False,
    )  # fmt: skip
    service = Apprise.instantiate(address, asset=asset)
    if not service:
        return None
    service.redirects = False  # also where the address asks for them
    service.socket_connect_timeout = service.socket_read_timeout = PATIENCE
    if address.lower().startswith("mailto"):
        service.notify_format = NotifyFormat.TEXT
    way = Apprise(asset=asset)
    way.add(service)
    return way


def _say(said: TextIO, line: list[Any]) -> None:
    with _SAYING:
        said.write(json.dumps(line) + "\n")
        said.flush()


if __name__ == "__main__":
    main()
