"""Rules of https: who trusts the certificate's authority is answered, and a renewed certificate is taken."""

import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from pipelines.cli.tour import post
from pipelines.contracts import EvergreenError, TransientError
from pipelines.local.answering import exchange, followed, status
from pipelines.serving import __main__ as process
from pipelines.serving.door.tls import offered
from pipelines.serving.http.client import Client
from pipelines.serving.schemas import example
from pipelines.settings import PROJECT, Settings, settings
from tests.doors import Authority
from tests.integration.serving.worlds import SPEC, World, wait

ASKED = example(SPEC)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.made(tmp_path / "ours")


@pytest.fixture
def secure(world: World, authority: Authority) -> Iterator[Settings]:
    certificate, key = authority.signs()
    with served(world, certificate, key, authority.file) as ours:
        yield ours


@contextmanager
def served(world: World, certificate: Path, key: Path, authorities: Path) -> Iterator[Settings]:
    """The settings by which the app is served over TLS, and asked."""
    ours = Settings(
        _env_file=None, serving_tls_cert=certificate, serving_tls_key=key, serving_tls_ca=authorities
    )
    config = uvicorn.Config(world.app, port=0, log_level="warning", lifespan="off", **offered(ours))
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield ours.model_copy(update={"serving_port": port})
    finally:
        server.should_exit = True
        thread.join(10)


def serial(settings: Settings) -> str:
    """Of the certificate that a new connection is shown."""
    context = ssl.create_default_context(cafile=settings.serving_tls_ca)
    with (
        socket.create_connection(("127.0.0.1", settings.serving_port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        return str(connection.getpeercert()["serialNumber"])


def test_who_trusts_the_authority_is_answered_and_others_are_told_whom_to_trust(
    secure: Settings, authority: Authority, tmp_path: Path
) -> None:
    address, other = secure.serving_address, Authority.made(tmp_path / "other")
    assert address.startswith("https://")
    answer = Client(address, authorities=authority.file).predict(SPEC.name, **ASKED)
    assert answer.version == 1
    for client in (Client(address), Client(address, authorities=other.file)):
        with pytest.raises(EvergreenError, match=r"is not trusted .*`authorities`") as caught:
            client.predict(SPEC.name, **ASKED)
        assert not isinstance(caught.value, TransientError)
    with pytest.raises(TransientError):
        Client(address.replace("https", "http")).predict(SPEC.name, **ASKED)


def test_our_own_commands_ask_by_the_settings(secure: Settings, tmp_path: Path) -> None:
    assert exchange(secure, "/health", seconds=5)
    assert (status(secure, SPEC.name) or {})["version"] == 1
    assert post(secure, ASKED, SPEC.name)["version"] == 1
    assert followed(secure, SPEC.name, 1) == "Serving answers with version 1."
    foreign = secure.model_copy(update={"serving_tls_ca": Authority.made(tmp_path / "other").file})
    for ask in (lambda: status(foreign, SPEC.name), lambda: post(foreign, ASKED, SPEC.name)):
        with pytest.raises(EvergreenError, match="EVERGREEN_SERVING_TLS_CA"):
            ask()
    assert "is not known: the certificate that" in followed(foreign, SPEC.name, 1)


def test_a_name_that_the_certificate_does_not_have_is_not_trusted(
    secure: Settings, authority: Authority
) -> None:
    authority.signs(["models.example"])
    with pytest.raises(EvergreenError, match="is not trusted"):
        exchange(secure, "/health", seconds=5)


def test_a_renewed_certificate_is_taken_by_new_connections_and_half_a_one_is_not(
    secure: Settings, authority: Authority
) -> None:
    before, certificate = serial(secure), authority.folder / "server.pem"
    files = [certificate, authority.folder / "server.key"]
    old = [file.read_bytes() for file in files]
    authority.signs()
    new = [file.read_bytes() for file in files]
    files[1].write_bytes(old[1])  # as if the key was not there yet
    assert serial(secure) == before
    certificate.unlink()
    assert serial(secure) == before
    for file, text in zip(files, new, strict=True):
        file.write_bytes(text)
    assert serial(secure) not in {"", before}


@pytest.mark.skipif(
    not (shutil.which("openssl") and shutil.which("curl")), reason="openssl or curl is not here"
)
def test_what_the_page_says_makes_a_certificate_and_asks_over_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (PROJECT / "docs" / "how-to" / "let-callers-in.md").read_text()
    (make, ask), (python,) = (
        re.findall(r"(?m)^\$ ((?:openssl|curl) .+)$", page),
        re.findall(r"(?s)```python\n(.+?)```", page),
    )
    monkeypatch.chdir(tmp_path)
    subprocess.run(make.split(), check=True, capture_output=True)
    file = tmp_path / "server.pem"
    with served(world, file, tmp_path / "server.key", file) as ours:
        port = str(ours.serving_port)
        said = subprocess.run(ask.replace("8000", port).split(), check=True, capture_output=True, text=True)
        assert "alive" in said.stdout
        exec(python.replace("8000", port), {**ASKED, "token": "t"})  # noqa: S102 - our own page
    assert capsys.readouterr().out.strip() == "1"


def test_a_process_whose_certificate_cannot_be_used_says_so_and_does_not_start(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, key = authority.signs()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for name, value in {
        "HOME": tmp_path,
        "SERVING_PORT": port,
        "SERVING_TLS_CERT": key,
        "SERVING_TLS_KEY": key,
    }.items():
        monkeypatch.setitem(os.environ, f"EVERGREEN_{name}", str(value))
    monkeypatch.setattr(process, "_log", lambda: None)
    settings.cache_clear()
    assert process.main() == 2
    assert "EVERGREEN_SERVING_TLS_CERT" in capsys.readouterr().err
    settings.cache_clear()
