"""Rules of tokens: let in is what the issuer signed, for us, now, and for what is asked; everything else is refused."""

import base64
import hashlib
import hmac
import json
import logging
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from pipelines.serving.door import callers
from pipelines.serving.door.callers import Rates, Refusal, named
from pipelines.serving.door.entrance import entrance
from pipelines.serving.door.issuer import ALLOWED, Issuer
from pipelines.serving.door.tokens import Tokens, Wanted, scopes
from pipelines.settings import PROJECT, Settings
from tests.doors import AUDIENCE, ISSUER, SUBJECT, Published, claims, private, shown, token
from tests.integration.serving.worlds import wait

LONG, DAY = 10_000.0, timedelta(days=1)
WANTED = Wanted(ISSUER, AUDIENCE)
NOW = datetime.now(UTC)


def door(published: Any = None, wanted: Wanted = WANTED, pause: float = LONG) -> Tokens:
    """A door that has looked once."""
    issuer = Issuer(published or Published(), LONG, pause)
    issuer.look()
    return Tokens(issuer, wanted)


def said(tokens: Tokens, text: str | None, scope: str = "predict") -> Refusal | None:
    return tokens.refusal(None if text is None else f"Bearer {text}", scope)


@pytest.mark.parametrize("algorithm", sorted(ALLOWED))
def test_what_the_issuer_signed_for_us_is_let_in(algorithm: str) -> None:
    published = Published([shown("ES256", 9, "other"), shown(algorithm)])
    assert said(door(published), token(algorithm)) is None
    assert said(door(Published([shown(algorithm, kid=None)])), token(algorithm, kid=None)) is None


def by_secret(secret: bytes, algorithm: str = "HS256") -> str:
    """Signed by hand: the library does not let anybody take a public key for a secret."""
    header = {"alg": algorithm, "typ": "JWT", "kid": "one"}
    signed = f"{_encoded(header)}.{_encoded(_plain(claims()))}"
    digest = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def _encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {n: int(v.timestamp()) if isinstance(v, datetime) else v for n, v in values.items()}


def _pem() -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(private("ES256", 0).public_key().public_bytes(serialization.Encoding.PEM, form))


def _none() -> str:
    return f"{_encoded({'alg': 'none', 'kid': 'one'})}.{_encoded(_plain(claims()))}."


REFUSED = {
    "expired": (lambda: token(exp=NOW - DAY), "run out"),
    "that lasts for ever": (lambda: token(exp=None), "has no 'exp'"),
    "for nobody": (lambda: token(aud=None), "has no 'aud'"),
    "of nobody": (lambda: token(iss=None), "has no 'iss'"),
    "about nobody": (lambda: token(sub=None), "has no 'sub'"),
    "for another": (lambda: token(aud=["other-api", "evergreen"]), "another audience"),
    "of another issuer": (lambda: token(iss=ISSUER + "/"), "another issuer"),
    "not yet good": (lambda: token(nbf=NOW + DAY), "not good yet"),
    "issued tomorrow": (lambda: token(iat=NOW + DAY), "not good yet"),
    "unsigned": (_none, "signed this way"),
    "signed by the public key as a secret": (lambda: by_secret(_pem()), "signed this way"),
    "that calls a secret's signature ES256": (lambda: by_secret(_pem(), "ES256"), "not as its issuer signed"),
    "signed by another key": (lambda: token(number=1), "not as its issuer signed"),
    "that brings its own key": (
        lambda: token(number=1, headers={"jwk": shown(number=1), "jku": "http://127.0.0.1:9/"}),
        "not as its issuer signed",
    ),
    "signed by another kind of key": (lambda: token("EdDSA"), "no key that its issuer shows"),
    "of an unknown key": (lambda: token(kid="two"), "no key that its issuer shows"),
    "that is for a logout": (lambda: token(headers={"typ": "logout+jwt"}), "of this kind"),
    "that must be understood": (lambda: token(headers={"crit": ["x"], "x": 1}), "can be read"),
    "whose id is a number": (lambda: f"{_encoded({'alg': 'ES256', 'kid': 1})}.e30.e30", "can be read"),
    "whose algorithm is a list": (lambda: f"{_encoded({'alg': ['ES256']})}.e30.e30", "can be read"),
    "nested deeply": (lambda: f"{base64.urlsafe_b64encode(b'[' * 30_000).decode()}.e30.e30", "can be read"),
    "that is none": (lambda: "evergreen_guess", "can be read"),
}  # fmt: skip


@pytest.mark.parametrize("which", REFUSED)
def test_a_token_is_refused(which: str, caplog: pytest.LogCaptureFixture) -> None:
    """With 401 and the reason, and nobody's name in the log."""
    caplog.set_level(logging.DEBUG)
    made, words = REFUSED[which]
    refused = said(door(), text := made())
    assert refused is not None
    assert (refused[0], words in refused[1]) == (401, True), refused
    assert 'error="invalid_token"' in refused[2]["WWW-Authenticate"]
    told = caplog.text + str(refused)
    assert not [word for word in (SUBJECT, text, AUDIENCE, ISSUER) if word in told]


def test_without_a_token_the_challenge_names_no_error() -> None:
    for header in (None, "", "Basic YTpi", "Bearer", "Bearer   "):
        refused = door().refusal(header, "predict")
        assert refused is not None
        assert (refused[0], refused[2]["WWW-Authenticate"]) == (401, 'Bearer realm="evergreen"')
    assert named("bearer x") == named("BEARER  x ") == "x"


def test_clocks_may_differ_by_half_a_minute() -> None:
    little = timedelta(seconds=20)
    assert said(door(), token(exp=datetime.now(UTC) - little)) is None
    ahead = datetime.now(UTC) + little
    assert said(door(), token(nbf=ahead, iat=ahead)) is None


def test_a_token_that_was_let_in_is_let_in_no_more_once_it_has_run_out_or_its_key_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    published = Published()
    tokens, late, lasting = (
        door(published),
        token(exp=datetime.now(UTC) - timedelta(seconds=10)),
        token(exp=NOW + DAY),
    )
    for _ in range(2):
        assert said(tokens, late) is said(tokens, lasting) is None
    monkeypatch.setattr("pipelines.serving.door.tokens.LEEWAY", 0.0)
    assert (said(tokens, late) or (0,))[0] == 401
    tokens._issuer.look()
    assert said(tokens, lasting) is None
    published.keys = [shown(number=1)]
    tokens._issuer.look()
    assert (said(tokens, lasting) or (0,))[0] == 401


def test_only_so_many_tokens_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.serving.door.tokens.MOST_VERIFIED", 3)
    tokens = door()
    for number in range(9):
        assert said(tokens, token(sub=str(number))) is None
        assert (said(tokens, f"guess{number}.e30.e30") or (0,))[0] == 401
    assert len(tokens._verified) == 3


GOOD, OPEN = token(exp=NOW + DAY), door()
LETTERS = st.sampled_from("ABCYZabcyz0189-_.")


@st.composite
def tampered(draw: st.DrawFn) -> str:
    """The good token with some letters of it left out, put in or changed."""
    begin = draw(st.integers(0, len(GOOD) - 1))
    end = begin + draw(st.integers(0, 5))
    return GOOD[:begin] + draw(st.text(LETTERS, max_size=5)) + GOOD[end:]


@given(tampered())
def test_a_tampered_token_is_never_let_in(text: str) -> None:
    refused = said(OPEN, text)
    assert (refused is None) == (text == GOOD)
    assert refused is None or refused[0] == 401


@given(
    st.dictionaries(
        st.sampled_from(["scope", "scp", "exp", "nbf", "iat", "iss", "aud", "sub"]),
        st.none()
        | st.integers()
        | st.floats()
        | st.text(max_size=5)
        | st.lists(st.text(max_size=5))
        | st.just("read"),
        min_size=1,
    )
)
def test_what_a_signed_token_says_cannot_be_changed(changes: dict[str, Any]) -> None:
    head, _, signature = GOOD.split(".")
    honest = json.loads(base64.urlsafe_b64decode(GOOD.split(".")[1] + "=="))
    changed = honest | changes
    refused = said(OPEN, f"{head}.{_encoded(changed)}.{signature}")
    assert refused is not None
    assert refused[0] == 401


@given(st.text(max_size=200))
def test_no_text_is_let_in_or_breaks_the_door(text: str) -> None:
    refused = said(OPEN, text)
    assert refused is not None
    assert refused[0] == 401


@given(
    st.dictionaries(
        st.sampled_from(["exp", "nbf", "iat", "iss", "aud", "sub", "scope", "scp"]),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists, max_leaves=4),
    )
)
def test_whatever_an_issuer_signs_the_door_does_not_break(changes: dict[str, Any]) -> None:
    body = json.dumps(_plain(claims()) | changes).encode()
    signed = jwt.PyJWS().encode(body, private("ES256", 0), "ES256", {"kid": "one"})
    refused = said(OPEN, signed)
    assert changes or refused is None
    assert refused is None or refused[0] in {401, 403}


@pytest.mark.parametrize(
    ("claim", "value", "held"),
    [
        ("scope", "openid predict read", {"openid", "predict", "read"}),
        ("scp", "predict", {"predict"}),
        ("scp", ["predict", "feedback", 7], {"predict", "feedback"}),
        ("scope", {"predict": True}, set()),
        ("scope", "", set()),
        ("roles", ["predict"], set()),
    ],
)
def test_scopes_are_read_as_issuers_write_them(claim: str, value: Any, held: set[str]) -> None:
    assert scopes({claim: value}) == held


def test_a_token_is_good_for_its_scopes_and_no_others() -> None:
    tokens = door(wanted=Wanted(ISSUER, AUDIENCE, "evergreen:"))
    mine = token(scope="evergreen:read predict", scp=["evergreen:feedback"])
    assert said(tokens, mine, "read") is said(tokens, mine, "feedback") is None
    refused = said(tokens, mine, "predict")
    assert refused is not None
    assert (refused[0], "'evergreen:predict'" in refused[1]) == (403, True)
    assert 'error="insufficient_scope"' in refused[2]["WWW-Authenticate"]


def test_each_subject_asks_as_often_as_a_subject_may() -> None:
    tokens = door(wanted=Wanted(ISSUER, AUDIENCE, per_second=0.01))
    assert said(tokens, token()) is None
    refused = said(tokens, token())  # another token, the same subject
    assert refused is not None
    assert refused[0] == 429
    assert int(refused[2]["Retry-After"]) > 1
    assert said(tokens, token(sub="somebody else")) is None


def test_of_callers_that_rested_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "MOST", 100)
    now = [0.0]
    monkeypatch.setattr(callers.time, "monotonic", lambda: now[0])
    rates = Rates()
    assert rates.refusal("busy", 0.001, "x") is None
    for number in range(1_000):
        now[0] += 0.5
        assert rates.refusal(f"caller {number}", 1.0, "x") is None
    assert len(rates._left) <= 101
    assert rates.refusal("busy", 0.001, "x") is not None


def test_the_pages_settings_let_tokens_in() -> None:
    page = (PROJECT / "docs" / "how-to" / "let-callers-in.md").read_text()
    said = re.findall(r"(?m)^export EVERGREEN_(SERVING_\w+)=(\S+)$", page)
    assert len(said) == 5
    given = Settings(_env_file=None, **{name.lower(): value for name, value in said})
    assert isinstance(entrance(given, lambda: None), Tokens)  # type: ignore[arg-type, return-value]


def test_the_settings_say_how_callers_are_known(tmp_path: Path) -> None:
    def built(**given: Any) -> Any:
        return entrance(Settings(_env_file=None, home=tmp_path, **given), lambda: None)  # type: ignore[arg-type, return-value]

    assert built() is None
    assert type(built(serving_access="keys")).__name__ == "Keyring"
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [shown()]}))
    asked = {
        "serving_access": "oidc", "serving_oidc_issuer": ISSUER, "serving_oidc_audience": AUDIENCE,
        "serving_oidc_jwks": str(file), "serving_poll_seconds": 0.02,
    }  # fmt: skip
    tokens = built(**asked)
    tokens.start()
    try:
        wait(lambda: said(tokens, token()) is None)
        file.write_text(json.dumps({"keys": [shown(number=1)]}))
        wait(lambda: said(tokens, token(number=1)) is None)
    finally:
        tokens.stop()
