"""Rules of an issuer's keys: found where the settings say, read for what verifies, kept while they cannot be read."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from pipelines.contracts import EvergreenError
from pipelines.serving.door.issuer import (
    MOST_BYTES,
    WELL_KNOWN,
    Issuer,
    Unfit,
    fetched,
    source,
    unchanged,
    usable,
)
from pipelines.serving.door.tokens import Tokens
from tests.doors import ISSUER, Published, shown, token
from tests.integration.serving.worlds import wait
from tests.unit.serving.test_tokens import LONG, WANTED, door, said


def test_before_the_keys_were_read_nobody_is_let_in_and_then_they_hold_on() -> None:
    published = Published(down=True)
    tokens = door(published)
    refused = said(tokens, token())
    assert refused is not None
    assert (refused[0], refused[2]) == (503, {"Retry-After": "1"})
    published.down = False
    tokens._issuer.look()
    published.down, published.keys = True, []
    tokens._issuer.look()
    assert said(tokens, token()) is None
    assert published.asked == 3


def test_a_new_key_is_fetched_once_a_token_names_it_and_the_one_before_opens_no_more() -> None:
    published = Published()
    tokens = Tokens(Issuer(published, LONG, 0.02), WANTED)
    tokens.start()
    try:
        wait(lambda: said(tokens, token()) is None)
        published.keys = [shown(number=1, kid="two")]
        statuses = set()

        def let_in() -> bool:
            refused = said(tokens, token(number=1, kid="two"))
            statuses.add(refused[0] if refused else 200)
            return refused is None

        wait(let_in)
        assert statuses <= {503, 401, 200}
        assert (said(tokens, token()) or (0,))[0] in {401, 503}
    finally:
        tokens.stop()


def test_tokens_that_name_unknown_keys_do_not_make_a_storm() -> None:
    published = Published()
    tokens = door(published)
    for number in range(50):
        assert (said(tokens, token(kid=f"guess {number}")) or (0,))[0] == 401
    assert not tokens._issuer._wanted.is_set()
    assert published.asked == 1
    tokens._issuer._looked -= 2 * LONG
    assert (said(tokens, token(kid="guess")) or (0,))[0] == 503
    assert tokens._issuer._wanted.is_set()
    assert published.asked == 1  # not by whoever answers requests


def test_a_set_is_read_for_what_verifies_signatures_and_nothing_else() -> None:
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505 - it is to be refused
    secret = jwt.algorithms.HMACAlgorithm.to_jwk(b"k" * 32, as_dict=True)
    keys = [
        secret, {**shown(), "use": "enc"}, {**shown(), "key_ops": ["encrypt"]}, {**shown(), "d": "AQAB"},
        RSAAlgorithm.to_jwk(short.public_key(), as_dict=True), {**shown(), "alg": "HS256"},
        {**shown(), "crv": ["P-256"]}, {**shown(), "key_ops": 7}, {**shown(), "x": "?"}, {"kty": "EC"}, "one", None,
        {**shown("RS256", kid="two"), "alg": "RS256"},
    ]  # fmt: skip
    (known,) = usable({"keys": keys})
    assert (known.kid, known.algorithms) == ("two", {"RS256"})
    assert usable({"keys": []}) == ()
    for document in (None, [], {}, {"keys": {}}, "keys"):
        with pytest.raises(Unfit):
            usable(document)


def test_a_token_that_names_no_key_is_let_in_only_where_there_is_one() -> None:
    assert said(door(), token(kid=None)) is None
    several = Published([shown(), shown(number=1, kid="two")])
    assert (said(door(several), token(kid=None)) or (0,))[0] == 401


@contextmanager
def website(pages: dict[str, Any]) -> Iterator[str]:
    """Pages on loopback; a text is where a page is moved to."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path)
            moved = isinstance(page, str)
            body = page if isinstance(page, bytes) else json.dumps(page).encode()
            self.send_response(302 if moved else 200 if page is not None else 404)
            if moved:
                self.send_header("Location", page)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_keys_are_found_by_the_issuers_discovery_at_an_address_or_in_a_file(tmp_path: Path) -> None:
    keys = {"keys": [shown()]}
    pages: dict[str, Any] = {"/keys": keys}
    with website(pages) as address:
        pages[f"/realm{WELL_KNOWN}"] = {"issuer": f"{address}/realm", "jwks_uri": f"{address}/keys"}
        assert source(f"{address}/realm", None)() == keys
        with pytest.raises(Unfit, match="to the letter"):
            source(f"{address}/realm/", None)()
        assert source(ISSUER, f"{address}/keys")() == keys
    (tmp_path / "keys.json").write_text(json.dumps(keys))
    assert source(ISSUER, str(tmp_path / "keys.json"))() == keys


def test_nobody_on_the_way_says_which_keys_an_issuer_has() -> None:
    assert unchanged("https://issuer.example/keys")
    assert not [
        each for each in ("http://issuer.example/keys", "file:///etc/keys", "keys") if unchanged(each)
    ]
    pages = {"/moved": "http://127.0.0.1:9/keys", "/large": b" " * (MOST_BYTES + 1), "/text": b"no JSON"}
    with website(pages) as address:
        for page in (*pages, "/none"):
            with pytest.raises((OSError, ValueError)) as caught:
                fetched(address + page)
            assert "refused" not in str(caught.value)  # it did not go to where it was moved
    for issuer, place in (
        ("http://issuer.example", None),
        ("realm", None),
        (ISSUER, "http://x.example/k"),
        (ISSUER, "/no"),
    ):
        with pytest.raises(EvergreenError, match="EVERGREEN_SERVING_OIDC_"):
            source(issuer, place)
