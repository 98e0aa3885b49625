"""Which connections of a deployment are encrypted in transit, and what would encrypt each that is not."""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import SecretStr

from pipelines.places import LOOPBACK, told_at


class State(StrEnum):
    """How what is said over a connection travels."""

    HERE = "stays on this machine"
    ENCRYPTED = "encrypted"
    PLAIN = "not encrypted"


class Given(Protocol):
    """What settings say of connections, beside the addresses in `ADDRESSES`."""

    @property
    def online_store(self) -> str: ...
    @property
    def redis_url(self) -> SecretStr | None: ...
    @property
    def host(self) -> str: ...
    @property
    def serving_tls_cert(self) -> Path | None: ...
    @property
    def alert_addresses(self) -> list[str]: ...


class Around(NamedTuple):
    """What the environment adds to addresses: where object stores are asked, and libpq's own PGSSLMODE."""

    endpoints: tuple[str, ...] = ()
    sslmode: str = ""


class Connection(NamedTuple):
    """One connection of a deployment, by the setting that names it; never its address, which may hold a secret."""

    setting: str
    what: str
    state: State
    remedy: str


NOTHING = Around()
REQUIRED = "EVERGREEN_TLS=required"
VERIFIED = frozenset({"verify-ca", "verify-full"})
"""PostgreSQL's modes that hold the server against an authority; `require` takes any certificate."""
STORES = {"s3": "s3", "s3a": "s3", "gs": "web", "gcs": "web", "az": "web", "abfs": "web", "abfss": "web"}
"""Object stores, whose libraries speak https unless an endpoint says otherwise."""
PLAINLY_TOLD = frozenset(
    {"json", "xml", "mailto", "gotify", "goalert", "matrix", "mmost", "ntfy", "rocket", "splunk"}
)
"""Apprise's ways that have an encrypted one of the same name with an `s`; the others are always https."""
REMEDIES = {
    "postgresql": "set PGSSLMODE=verify-full and PGSSLROOTCERT=/path/to/ca.pem",
    "redis": "add ,ssl=true,ssl_ca_certs=/path/to/ca.pem to it",
    "rediss": "begin it with rediss://, with ?ssl_cert_reqs=required&ssl_ca_certs=/path/to/ca.pem",
    "web": "begin it with https://",
    "s3": "give AWS_ENDPOINT_URL and MLFLOW_S3_ENDPOINT_URL an https:// address, or leave them out",
    "told": "write each way with its s, such as jsons:// or mailtos://, without verify=no",
    "other": "there is no encrypted form of it that is known here; use one on this machine",
}


ADDRESSES = {
    "database_url": "ledger and prediction log",
    "tracking_uri": "MLflow",
    "lake": "Delta tables",
    "artifact_root": "MLflow's artifacts",
    "mlflow_url": "browsers to MLflow",
    "serving_url": "our own commands to serving",
    "serving_oidc_issuer": "the issuer of tokens",
    "serving_oidc_jwks": "the issuer's keys",
}
"""The settings that are addresses, and what each of them is for."""


def connections(given: Given, around: Around) -> list[Connection]:
    """Every connection that the settings name, and how it travels."""
    found = [
        judged(_variable(name), what, _text(getattr(given, name)), around) for name, what in ADDRESSES.items()
    ]
    redis = _text(given.redis_url) if given.online_store == "redis" else ""
    return [
        *found,
        online(_variable("redis_url"), "online store", redis),
        server(_variable("serving_tls_cert"), "callers of serving", given.host, given.serving_tls_cert),
        told(_variable("alert_urls"), "where people are told", " ".join(given.alert_addresses)),
    ]


def _variable(name: str) -> str:
    return f"EVERGREEN_{name.upper()}"


def _text(value: SecretStr | str | None) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value or ""


def judged(setting: str, what: str, address: str, around: Around = NOTHING) -> Connection:
    """How an address is reached: PostgreSQL, Redis by URL, a web server, an object store or a file."""
    try:
        scheme = urlsplit(address).scheme.lower()
        kind, state = _address(scheme.removeprefix("db+").partition("+")[0], address, around)
    except ValueError:
        kind, state = "other", State.PLAIN
    return Connection(setting, what, state, REMEDIES[kind])


def _address(scheme: str, address: str, around: Around) -> tuple[str, State]:
    if scheme in ("", "file", "sqlite", "mlflow-artifacts"):  # the last goes by MLflow's own address
        return "other", State.HERE
    if scheme in ("postgresql", "postgres"):
        return "postgresql", _postgresql(address, around.sslmode)
    if scheme in ("redis", "rediss"):
        return "rediss", _redis_url(scheme, address)
    if scheme in ("http", "https"):
        return "web", _web(address)
    if scheme in STORES:
        states = [_web(each) for each in around.endpoints if each]
        return STORES[scheme], State.PLAIN if State.PLAIN in states else State.ENCRYPTED
    return "other", _by_hosts([urlsplit(address).hostname or ""], encrypted=False)


def online(setting: str, what: str, text: str) -> Connection:
    """How Redis is reached as Feast writes it: host:port,key=value."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    hosts = [part.rpartition(":")[0].strip("[]") or part for part in parts if "=" not in part]
    said = {
        key.strip(): value.strip() for key, _, value in (part.partition("=") for part in parts if "=" in part)
    }
    verified = said.get("ssl_cert_reqs", "required").strip('"') == "required"
    encrypted = said.get("ssl", "").lower() == "true" and verified
    return Connection(setting, what, _by_hosts(hosts, encrypted), REMEDIES["redis"])


def server(setting: str, what: str, host: str, certificate: object) -> Connection:
    """How callers reach one of our own servers, by the interface that it binds to."""
    remedy = f"set {setting} and its key, or bind to loopback"
    return Connection(setting, what, _by_hosts([host], bool(certificate)), remedy)


def told(setting: str, what: str, text: str) -> Connection:
    """How people are told, by Apprise's addresses; the worst of them counts."""
    states = [_told(each) for each in told_at(text)]
    worst = next((state for state in (State.PLAIN, State.ENCRYPTED) if state in states), State.HERE)
    return Connection(setting, what, worst, REMEDIES["told"])


def _told(address: str) -> State:
    parts = urlsplit(address)
    unverified = parse_qs(parts.query).get("verify", ["yes"])[-1].lower() in ("no", "false", "0")
    encrypted = parts.scheme.lower() not in PLAINLY_TOLD and not unverified
    return _by_hosts([parts.hostname or "elsewhere"], encrypted)


def _postgresql(address: str, otherwise: str) -> State:
    """SQLAlchemy takes hosts from the address and from its query; asyncpg calls the mode `ssl`."""
    parts = urlsplit(address)
    said = parse_qs(parts.query)
    named = [*said.get("host", []), *said.get("hostaddr", [])]
    hosts = [
        *([parts.hostname] if parts.hostname else []),
        *(each.rpartition(":")[0] or each for each in named),
    ]
    modes = {*said.get("sslmode", []), *said.get("ssl", [])} or {otherwise}
    return _by_hosts([unquote(each) for each in hosts], encrypted=modes <= VERIFIED)


def _redis_url(scheme: str, address: str) -> State:
    parts = urlsplit(address)
    wanted = parse_qs(parts.query).get("ssl_cert_reqs", ["required"])
    verified = {each.lower().removeprefix("cert_") for each in wanted} == {"required"}
    return _by_hosts([parts.hostname or "localhost"], scheme == "rediss" and verified)


def _web(address: str) -> State:
    parts = urlsplit(address)
    return _by_hosts([parts.hostname or ""], parts.scheme.lower() == "https")


def _by_hosts(hosts: list[str], encrypted: bool) -> State:
    """No host, or a folder for one, is a socket on this machine."""
    if all(host in LOOPBACK or host.startswith("/") for host in hosts):
        return State.HERE
    return State.ENCRYPTED if encrypted else State.PLAIN


def refusal(connections: Iterable[Connection]) -> str | None:
    """What is said where encryption is required: every connection that is plain, each with its remedy."""
    plain = [each for each in connections if each.state is State.PLAIN]
    said = "; ".join(f"{each.what} ({each.setting}): {each.remedy}" for each in plain)
    return f"{REQUIRED}, and {len(plain)} are not encrypted: {said}" if plain else None
