"""Rules of certificates: one that cannot be used is told in words, and one that is renewed is taken."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest

from pipelines.contracts import EvergreenError
from pipelines.serving.door.tls import doubted, loaded, offered, trusted
from pipelines.settings import Settings
from tests.doors import Authority

DAY = timedelta(days=1)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.made(tmp_path)


def read_by_all(authority: Authority) -> Any:
    certificate, key = authority.signs()
    key.chmod(0o644)
    return certificate, key


def of_another(authority: Authority) -> Any:
    authority.signs()
    other = authority.folder / "other.pem"
    other.write_bytes((authority.folder / "server.pem").read_bytes())
    return other, authority.signs()[1]


def exchanged(authority: Authority) -> Any:
    certificate, key = authority.signs()
    return key, certificate


def no_key(authority: Authority) -> Any:
    certificate, key = authority.signs()
    key.write_text("-----BEGIN PRIVATE KEY-----\nno\n-----END PRIVATE KEY-----\n")
    return certificate, key


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda a: a.signs(begins=-2 * DAY, ends=-DAY), "so not now; renew it"),
        (lambda a: a.signs(begins=DAY, ends=2 * DAY), "so not now; renew it"),
        (of_another, "is not that of the certificate"),
        (read_by_all, "everybody may read .*; `chmod 600 "),
        (lambda a: a.signs(passphrase=b"hush"), "has a passphrase"),
        (exchanged, "no certificate in PEM"),
        (no_key, "no private key in PEM"),
        (lambda a: (a.folder / "none.pem", a.signs()[1]), "TLS_CERT: .*none.pem cannot be read"),
        (lambda a: (a.signs()[0], a.folder / "none.key"), "TLS_KEY: .*none.key cannot be read"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_told_with_its_setting(
    made: Any, words: str, authority: Authority
) -> None:
    certificate, key = made(authority)
    with pytest.raises(EvergreenError, match=r"^EVERGREEN_SERVING_TLS_(CERT|KEY): ") as caught:
        loaded(certificate, key, datetime.now(UTC))
    caught.match(words)
    assert "hush" not in str(caught.value)


def test_by_the_settings_serving_speaks_http_or_https_and_is_asked_so(authority: Authority) -> None:
    certificate, key = authority.signs()
    secure = Settings(_env_file=None, serving_tls_cert=certificate, serving_tls_key=key)
    context = offered(secure)["ssl_context_factory"](None, None)
    assert isinstance(context, ssl.SSLContext)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert offered(Settings(_env_file=None)) == {}
    assert Settings(_env_file=None, host="::1").serving_address == "http://[::1]:8000"
    for every in ("0.0.0.0", "::"):  # noqa: S104 - where it binds, not where it is asked
        assert Settings(_env_file=None, host=every).serving_address == "http://localhost:8000"
    assert secure.serving_address == "https://127.0.0.1:8000"
    named = secure.model_copy(update={"serving_url": "https://models.example/x/"})
    assert named.serving_address == "https://models.example/x"


def test_authorities_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no certificate")
    for file in ("text", "none"):
        with pytest.raises(EvergreenError, match=r"the authorities in .* cannot be read"):
            trusted(tmp_path / file)
    assert trusted(None) is None
    assert doubted("https://x", URLError(ConnectionRefusedError())) is None
