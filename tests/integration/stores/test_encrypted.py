"""Connections over TLS to real servers of the tests' own: the right authority is believed, another is refused."""

import shutil
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipelines.prove.servers import free_port, postgresql_missing, postgresql_server, redis_missing
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.tracking.rest import Rest, Silent
from pipelines.transit import State

NOW = datetime.now(UTC)


class Authority:
    """One that signs certificates of localhost."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.parent.name)])
        self._name, self.ca = name, folder / "ca.pem"
        basic = x509.BasicConstraints(ca=True, path_length=None)
        self.ca.write_bytes(self._signed(name, self._key, [basic]))
        key, self.key, self.cert = ec.generate_private_key(ec.SECP256R1()), folder / "key", folder / "cert"
        local = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        self.cert.write_bytes(self._signed(local, key, [names]))
        pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.key.write_bytes(key.private_bytes(*pem))
        self.key.chmod(0o600)

    def _signed(self, name: x509.Name, key: Any, extensions: list[Any]) -> bytes:
        made = x509.CertificateBuilder(self._name, name, key.public_key(), x509.random_serial_number())
        made = made.not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=1))
        for each in extensions:
            made = made.add_extension(each, critical=isinstance(each, x509.BasicConstraints))
        return made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours") / "ca")


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("another") / "ca")


@pytest.fixture
def postgresql(ours: Authority) -> Iterator[str]:
    """host:port of a PostgreSQL that lets nobody in without TLS."""
    if reason := postgresql_missing():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="evergreen-pg-") as folder, postgresql_server(Path(folder)) as at:
        data = Path(folder) / "data"
        for file in (ours.cert, ours.key):
            shutil.copyfile(file, data / file.name)
            shutil.chown(data / file.name, data.owner())
            (data / file.name).chmod(0o600)
        (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\n")
        with _plain(at) as connection:
            for name, value in (("ssl", "on"), ("ssl_cert_file", "cert"), ("ssl_key_file", "key")):
                connection.exec_driver_sql(f"alter system set {name} = '{value}'")
            connection.exec_driver_sql("select pg_reload_conf()")
        yield f"localhost:{at.rpartition(':')[2]}"


def _plain(at: str) -> Any:
    url = f"postgresql+psycopg2://evergreen@{at}/postgres"
    return sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool).connect()


def test_the_ledger_goes_to_postgresql_by_tls_and_believes_only_its_authority(
    postgresql: str, ours: Authority, another: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"postgresql+psycopg2://evergreen@{postgresql}/postgres?sslmode="

    def ledger(rest: str) -> Any:
        return Stores(Settings(_env_file=None, home=tmp_path, database_url=url + rest)).ledger.batches()

    assert ledger(f"verify-full&sslrootcert={ours.ca}") == []
    with sa.create_engine(f"{url}verify-full&sslrootcert={ours.ca}").connect() as connection:
        asked = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
        assert connection.exec_driver_sql(asked).scalar_one() is True
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGSSLROOTCERT", str(ours.ca))
    bare = f"postgresql+psycopg2://evergreen@{postgresql}/postgres"
    assert Stores(Settings(_env_file=None, home=tmp_path, database_url=bare)).ledger.batches() == []
    with pytest.raises(Exception, match="certificate verify failed"):
        ledger(f"verify-full&sslrootcert={another.ca}")
    with pytest.raises(Exception, match=r"no pg_hba\.conf entry"):
        ledger("disable")


@pytest.fixture
def redis(ours: Authority, tmp_path: Path) -> Iterator[str]:
    """host:port of a Redis that speaks TLS and nothing else."""
    if reason := redis_missing():
        pytest.skip(reason)
    port = free_port()
    command = ["redis-server", "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--save", "",
               "--dir", str(tmp_path), "--tls-cert-file", str(ours.cert), "--tls-key-file", str(ours.key),
               "--tls-ca-cert-file", str(ours.ca), "--tls-auth-clients", "no"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert any("Ready to accept connections" in line for line in process.stdout or ())
    yield f"localhost:{port}"
    process.terminate()
    process.communicate()


def test_the_online_store_goes_to_redis_by_tls_and_believes_only_its_authority(
    redis: str, ours: Authority, another: Authority, tmp_path: Path
) -> None:
    def ping(more: str) -> Any:
        told = {"online_store": "redis", "redis_url": redis + more, "home": tmp_path}
        features = Stores(Settings(_env_file=None, **told)).features  # type: ignore[arg-type]
        config = features.store.config.online_store
        return features.store._get_provider().online_store._get_client(config).ping()

    assert ping(f",ssl=true,ssl_ca_certs={ours.ca}") is True
    with pytest.raises(Exception, match="certificate verify failed"):
        ping(f",ssl=true,ssl_ca_certs={another.ca}")
    with pytest.raises(Exception, match=r"(?i)connection|closed|reset"):
        ping("")


class Registry(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def https(ours: Authority) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ours.cert, ours.key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://localhost:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_mlflow_is_asked_by_https_and_only_its_authority_is_believed(
    https: str, ours: Authority, another: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ours.ca))
    assert Rest(https).models() == {}
    monkeypatch.setenv("SSL_CERT_FILE", str(another.ca))
    with pytest.raises(Silent, match="certificate verify failed"):
        Rest(https).models()


def test_what_these_tests_use_is_what_is_called_encrypted() -> None:
    told = {"database_url": "postgresql+psycopg2://db/x?sslmode=verify-full&sslrootcert=/ca.pem",
            "online_store": "redis", "redis_url": "redis:6379,ssl=true,ssl_ca_certs=/ca.pem",
            "tracking_uri": "https://mlflow:5000"}  # fmt: skip
    found = {each.state for each in Settings(_env_file=None, **told).connections}  # type: ignore[arg-type]
    assert found == {State.HERE, State.ENCRYPTED}
