"""The deployment's knobs: the only reader of the environment."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipelines import places, transit
from pipelines.contracts import EvergreenError
from pipelines.residency import foreign

SERVER_LOGIN = re.compile(r"^(https?://)(?P<user>[^/?#:]*)(?::(?P<password>[^/?#]*))?@")
PASSWORD = re.compile(r"://[^/@:]*:([^/]+)@|password=([^,&\s]+)")
KEY = re.compile(r"[!-~]+")
IN_FILES = ("database_url", "tracking_uri", "redis_url")
"""Secrets that a process reads once, from their variable or from a file; those that may change under way are read
anew from theirs each time."""
ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "MLFLOW_S3_ENDPOINT_URL")
"""Where object stores are asked in place of their own addresses, as the libraries that ask them know it."""
SECRET = re.compile(r"secret|password|token|access\.?key|account\.key", re.IGNORECASE)
SPARK_SETTING = re.compile(r",(?=\s*spark\.)")
PROJECT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Paths, addresses and credentials of one deployment, each set as EVERGREEN_<NAME>.

    The defaults are the embedded profile: everything on local disk under `home`.
    """

    model_config = SettingsConfigDict(
        env_prefix="EVERGREEN_",
        env_file=PROJECT / ".env",
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,  # it may be a secret
    )

    home: Path = Field(PROJECT / "var", description="the one folder that holds all state")
    landing: Path | None = Field(None, description="where files arrive; home/landing if unset")
    inbox: str | None = Field(
        None,
        description="where files arrive on an object store, such as s3://bucket/incoming; unset: nowhere",
    )
    arrival_queue: str | None = Field(
        None, description="a message queue that wakes ingestion too, such as redis+pubsub://landing"
    )
    arrival_sweep: str | None = Field(
        None, description="cron of every dataset's sweep; each dataset's own if unset"
    )
    storage: str | None = Field(
        None,
        description="what machines share: s3://bucket/prefix, az://, gs:// or a folder that all mount; unset: home",
    )
    lake: str | None = Field(
        None, description="root of the Delta tables; lake below the storage, or below home, if unset"
    )
    database_url: SecretStr | None = Field(
        None, description="ledger and prediction log; SQLite under home if unset"
    )
    database_url_file: Path | None = Field(
        None, description="a file with that address, in place of database_url"
    )
    keys: Path | None = Field(
        None, description="the folder of the keys for models and audit log; home/keys if unset"
    )
    tracking_uri: SecretStr | None = Field(
        None, description="MLflow's tracking URI; SQLite under home if unset"
    )
    artifact_root: str | None = Field(
        None, description="where MLflow keeps artifacts; mlartifacts below the storage, or home"
    )
    tracking_uri_file: Path | None = Field(None, description="a file with that URI, in place of tracking_uri")
    mlflow_url: str | None = Field(
        None,
        description="where browsers reach MLflow; unset: the tracking URI, or mlflow_port of host if that is no server",
    )
    online_store: str = Field("sqlite", pattern="^(sqlite|redis)$", description="Feast's online store")
    feature_engine: str = Field("duckdb", pattern="^(duckdb|spark)$", description="what computes feature SQL")
    spark_master: str = Field("local[*]", description="Spark's master when feature_engine=spark")
    spark_conf: str = Field(
        "",
        description="settings of Spark beside those in SPARK_CONF_DIR/spark-defaults.conf: name=value, with commas",
    )
    training_engine: str = Field(
        "auto",
        pattern="^(auto|duckdb|spark)$",
        description="what joins training sets; auto: Spark where it computes features and a view has many rows",
    )
    training_spark_rows: int = Field(
        100_000_000,
        ge=1,
        description="views of at least so many rows are joined on Spark by training_engine=auto",
    )
    redis_url: SecretStr | None = Field(None, description="host:port of Redis when online_store=redis")
    redis_url_file: Path | None = Field(None, description="a file with that text, in place of redis_url")
    tls: str = Field(
        "optional",
        pattern="^(optional|required)$",
        description="required: nothing starts over a connection to another machine that is not encrypted",
    )
    host: str = Field("127.0.0.1", description="the interface our own servers bind to")
    airflow_port: int = Field(8080, description="Airflow's UI and API")
    mlflow_port: int = Field(5000, description="MLflow's UI")
    serving_port: int = Field(8000, description="the prediction API")
    metrics_port: int = Field(9464, description="the loop in numbers, where `evergreen metrics --serve` runs")
    evidently_port: int = Field(8085, description="Evidently's UI, where `evergreen evidently` runs")
    serving_poll_seconds: float = Field(
        0.5, gt=0, description="seconds between two looks of serving for a new champion"
    )
    serving_threads: int = Field(1, ge=1, description="threads that answer predictions")
    serving_workers: int = Field(
        1, ge=1, description="processes that answer predictions, each with its own models and threads"
    )
    serving_turn_seconds: float = Field(
        0.1,
        gt=0,
        description="so many predictions are made together as take so long; so many more wait at most",
    )
    serving_patience_seconds: float = Field(
        1.0, gt=0, description="no prediction waits longer for its turn, whatever holds the others up"
    )
    serving_backend_seconds: float = Field(
        0.4,
        gt=0,
        description="an answer waits no longer for the feature store, nor for the log; twice it is below the patience",
    )
    serving_explanation_seconds: float = Field(
        10.0, gt=0, description="explaining one answer takes no longer, or is refused"
    )
    serving_hosts: str | None = Field(
        None,
        description="names that serving is asked under, with commas; unset: on loopback its own, elsewhere any",
    )
    serving_access: str = Field(
        "open",
        pattern="^(open|keys|oidc)$",
        description="keys: who asks serving names a key of `evergreen keys`; oidc: a token that an issuer signed",
    )
    serving_key: SecretStr | None = Field(
        None, description="the key or token that our own commands name; good for predict and read"
    )
    serving_key_file: Path | None = Field(
        None, description="a file with that key or token, read anew each time, in place of serving_key"
    )
    serving_oidc_issuer: str | None = Field(
        None, description="who signs the tokens where serving_access=oidc: their `iss`, to the letter"
    )
    serving_oidc_audience: str | None = Field(
        None, description="what tokens for this API have as their `aud`"
    )
    serving_oidc_jwks: str | None = Field(
        None,
        description="address or file of the issuer's public keys (JWKS); unset: as the issuer's discovery says",
    )
    serving_oidc_prefix: str = Field(
        "",
        description="what stands before predict, feedback and read in a token's scopes, such as evergreen:",
    )
    serving_oidc_per_second: float | None = Field(
        None,
        ge=0.01,
        description="requests a second of each subject, by each serving process; unset: any number",
    )
    serving_tls_cert: Path | None = Field(
        None,
        description="the certificate, with its chain, in PEM, with which serving speaks https; unset: http",
    )
    serving_tls_key: Path | None = Field(
        None, description="its private key, in PEM, without a passphrase, that not everybody may read"
    )
    serving_tls_ca: Path | None = Field(
        None,
        description="the authorities in PEM that our own commands trust; unset: those that the machine trusts",
    )
    serving_url: str | None = Field(
        None,
        description="where our own commands ask serving; unset: serving_port of host, https where it has a key",
    )
    prediction_log_days: int | None = Field(
        None,
        ge=1,
        description="answers older than this leave the database once they lie in the lake; unset: none",
    )
    cost_log_days: int = Field(
        365, ge=1, description="what a step took is forgotten when it is older than so many days"
    )
    cost_per_cpu_hour: float | None = Field(
        None, gt=0, description="what an hour of one processor costs; unset: `evergreen cost` names no money"
    )
    cost_currency: str = Field("", description="the currency of cost_per_cpu_hour, such as EUR")
    threads: int = Field(2, ge=1, description="threads one task may use")
    memory_mb: int = Field(
        256, ge=64, description="megabytes that one ingestion may keep in memory before it spills"
    )
    lease_seconds: float = Field(
        60.0, gt=0, description="seconds that a claim on a batch outlives a sign of life"
    )
    alert_urls: SecretStr | None = Field(
        None,
        description="where people are told: Apprise addresses such as mailtos:// slack:// jsons://, spaces between",
    )
    alert_urls_file: Path | None = Field(
        None, description="a file with those addresses, read anew each time, in place of alert_urls"
    )
    alert_severity: str = Field(
        "warning",
        pattern="^(info|warning|critical)$",
        description="people are told what is at least so severe: info, warning or critical",
    )
    alert_reminder_hours: float = Field(
        24.0, gt=0, description="hours after which what still lasts is told again"
    )

    residency: str | None = Field(
        None,
        description="where all state has to lie, or nothing starts: regions, hosts, ends of hosts (.db.example.eu),"
        " addresses (gs://bucket), and local for this machine's disks, with commas; unset: anywhere",
    )

    @field_validator("storage", "inbox")
    @classmethod
    def _shared(cls, given: str | None, info: ValidationInfo) -> str | None:
        """`storage` and `inbox` are addresses of a known object store, or folders that all machines mount."""
        if not given:
            return None
        if not places.is_address(given):
            return str(Path(given).absolute())
        if given.partition("://")[0] not in places.OBJECT_STORES:
            raise EvergreenError(
                f"EVERGREEN_{str(info.field_name).upper()} {given} is at no store that is known; name a folder, or an"
                f" address that begins with {', '.join(f'{each}://' for each in places.OBJECT_STORES)}"
            )
        return given.rstrip("/")

    @model_validator(mode="before")
    @classmethod
    def _secrets_from_files(cls, given: Any) -> Any:
        """`database_url`, `tracking_uri` and `redis_url` may each lie in a file that others cannot read."""
        if not isinstance(given, dict):
            return given
        files = {name: given[f"{name}_file"] for name in IN_FILES if given.get(f"{name}_file")}
        for name in files:
            if given.get(name) is not None:
                own = f"EVERGREEN_{name.upper()}"
                raise EvergreenError(f"{own} and {own}_FILE are both set; leave one out")
        read = {n: places.secret_in(Path(f), f"EVERGREEN_{n.upper()}_FILE").strip() for n, f in files.items()}
        return given | read | {f"{name}_file": None for name in files}

    @field_validator("home", "landing", "keys")
    @classmethod
    def _on_a_disk(cls, folder: Path | None, info: ValidationInfo) -> Path | None:
        """`home`, `landing` and `keys` are folders on a disk, the same for every process wherever it works."""
        if folder is not None and places.is_address(folder):
            raise EvergreenError(
                f"EVERGREEN_{str(info.field_name).upper()} must be a folder on a disk, not an address; of all state"
                " only EVERGREEN_STORAGE, EVERGREEN_LAKE and EVERGREEN_ARTIFACT_ROOT may lie at one"
            )
        return None if folder is None else folder.absolute()

    @model_validator(mode="after")
    def _alerts_can_be_told(self) -> "Settings":
        """`alert_urls`, or the file named in its place, holds addresses of Apprise that post over the network."""
        if self.alert_urls and self.alert_urls_file:
            raise EvergreenError(
                "EVERGREEN_ALERT_URLS and EVERGREEN_ALERT_URLS_FILE are both set; leave one out"
            )
        name = "EVERGREEN_ALERT_URLS_FILE" if self.alert_urls_file else "EVERGREEN_ALERT_URLS"
        told = self.alert_addresses
        for place, address in enumerate(told, 1):
            why = places.cannot_be_told_at(address)
            if why is not None:
                raise EvergreenError(
                    f"{name}: alerts cannot go to address {place} of {len(told)}: {why}; its value is not shown"
                )
        return self

    @model_validator(mode="after")
    def _door(self) -> "Settings":
        """`serving_tls_cert` has its key, `serving_access=oidc` has issuer and audience, our own commands have one
        key, and `serving_url` and `mlflow_url` are such as https://host:8000."""
        if bool(self.serving_tls_cert) != bool(self.serving_tls_key):
            raise EvergreenError(
                "of EVERGREEN_SERVING_TLS_CERT and EVERGREEN_SERVING_TLS_KEY only one is set; set both or none"
            )
        if self.serving_access == "oidc" and not (self.serving_oidc_issuer and self.serving_oidc_audience):
            raise EvergreenError(
                "EVERGREEN_SERVING_ACCESS=oidc lets nobody in without an issuer and an audience; set"
                " EVERGREEN_SERVING_OIDC_ISSUER and EVERGREEN_SERVING_OIDC_AUDIENCE"
            )
        if self.serving_url and not places.is_web_address(self.serving_url):
            raise EvergreenError("EVERGREEN_SERVING_URL is no address: it must look like https://host:8000")
        if self.mlflow_url and not places.is_web_address(self.mlflow_url):
            raise EvergreenError("EVERGREEN_MLFLOW_URL is no address: it must look like https://host:5000")
        if self.serving_key and self.serving_key_file:
            raise EvergreenError(
                "EVERGREEN_SERVING_KEY and EVERGREEN_SERVING_KEY_FILE are both set; leave one out"
            )
        return self

    @model_validator(mode="after")
    def _where_state_can_lie(self) -> "Settings":
        """`home`, and `lake` where it is a folder, have names in which SQLite and Delta can keep state."""
        for name, folder in (("HOME", self.home), ("LAKE", places.local(self.lake_uri))):
            fault = None if folder is None else places.fault(folder)
            if fault is not None:
                raise EvergreenError(
                    f"nothing can be kept in {places.shown(str(folder))}: {fault}; rename that folder,"
                    f" or set EVERGREEN_{name} to another"
                )
        return self

    @model_validator(mode="after")
    def _resides(self) -> "Settings":
        """Where `residency` is set, every place of state lies in it as far as its address tells, and tells enough."""
        if self.residency is not None:
            region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
            endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
            found = foreign(self.residency, self._lies(), region, endpoint)
            if found:
                raise EvergreenError(
                    f"state lies, or may lie, outside of EVERGREEN_RESIDENCY ({self.residency}): {'; '.join(found)}"
                )
        return self

    def _lies(self) -> dict[str, str]:
        """Every place of state by the setting that says where it is."""
        redis = self.redis_url.get_secret_value() if self.redis_url else ""
        places_of = {
            "EVERGREEN_HOME": str(self.home),
            "EVERGREEN_LANDING": str(self.landing_path),
            "EVERGREEN_STORAGE": self.storage or str(self.home),
            "EVERGREEN_INBOX": self.inbox or str(self.landing_path),
            "EVERGREEN_LAKE": self.lake_uri,
            "EVERGREEN_DATABASE_URL": self.database,
            "EVERGREEN_TRACKING_URI": self.mlflow_uri,
            "EVERGREEN_ARTIFACT_ROOT": self.mlflow_artifacts,
        }
        return places_of | ({"EVERGREEN_REDIS_URL": redis} if self.online_store == "redis" else {})

    @model_validator(mode="after")
    def _encrypted(self) -> "Settings":
        """Where `tls` is required, every connection to another machine is encrypted."""
        why = transit.refusal(self.connections) if self.tls == "required" else None
        if why is not None:
            raise EvergreenError(why)
        return self

    @property
    def connections(self) -> list[transit.Connection]:
        """Every connection that the settings name, and how it travels."""
        return transit.connections(self, around())

    @field_validator("spark_conf")
    @classmethod
    def _of_spark(cls, conf: str) -> str:
        """`spark_conf` is such as spark.executor.memory=4g,spark.executor.cores=2."""
        for part in SPARK_SETTING.split(conf) if conf.strip() else ():
            if not re.match(r"\s*spark\.[\w.]+\s*=", part):
                raise EvergreenError(
                    "EVERGREEN_SPARK_CONF must look like spark.executor.memory=4g,spark.executor.cores=2"
                )
            name = part.partition("=")[0].strip()
            if SECRET.search(name):
                raise EvergreenError(
                    f"EVERGREEN_SPARK_CONF: {name} is a secret, and would stand among the arguments of Spark's process;"
                    " put it into spark-defaults.conf, in the folder that SPARK_CONF_DIR names"
                )
        return conf

    @property
    def serving_headers(self) -> dict[str, str]:
        """What a request to serving names, so that it is let in."""
        key = self.serving_key.get_secret_value() if self.serving_key else None
        if self.serving_key_file is not None:
            key = places.secret_in(self.serving_key_file, "EVERGREEN_SERVING_KEY_FILE").strip()
        if key and not KEY.fullmatch(key):
            raise EvergreenError(
                "what EVERGREEN_SERVING_KEY or EVERGREEN_SERVING_KEY_FILE holds is neither key nor token: one word"
            )
        return {"Authorization": f"Bearer {key}"} if key else {}

    @property
    def serving_address(self) -> str:
        """Where serving is asked, without a slash at the end."""
        if self.serving_url:
            return self.serving_url.rstrip("/")
        return f"{'https' if self.serving_tls_cert else 'http'}://{self.reached_host}:{self.serving_port}"

    @property
    def reached_host(self) -> str:
        """`host` as it stands in an address: who binds to every interface is asked on this machine's own."""
        host = "localhost" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 - of every interface
        return f"[{host}]" if ":" in host else host

    @property
    def landing_path(self) -> Path:
        return self.landing or self.home / "landing"

    @property
    def keys_path(self) -> Path:
        return self.keys or self.home / "keys"

    @property
    def lake_uri(self) -> str:
        return self.lake or f"{self.storage or self.home}/lake"

    @property
    def database(self) -> str:
        """SQLAlchemy's URL of the ledger and the prediction log."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return places.sqlite_url(self.home / "evergreen.db")

    @property
    def mlflow_uri(self) -> str:
        """MLflow's tracking URI; that of a server without the login in it, which its errors would repeat."""
        if self.tracking_uri is None:
            return places.sqlite_url(self.home / "mlflow.db")
        return SERVER_LOGIN.sub(r"\1", self.tracking_uri.get_secret_value())

    @property
    def mlflow_login(self) -> tuple[str, str] | None:
        """User and password of the MLflow server, if the tracking URI carries them."""
        found = SERVER_LOGIN.match(self.tracking_uri.get_secret_value()) if self.tracking_uri else None
        return (unquote(found["user"]), unquote(found["password"] or "")) if found else None

    @property
    def mlflow_address(self) -> str:
        """Where people's browsers reach MLflow, without a slash at the end."""
        if self.mlflow_url or self.mlflow_uri.startswith(("http:", "https:")):
            return (self.mlflow_url or self.mlflow_uri).rstrip("/")
        return f"http://{self.reached_host}:{self.mlflow_port}"

    @property
    def alert_addresses(self) -> list[str]:
        """Where people are told, each an address of Apprise; a file of them is read anew each time."""
        if self.alert_urls_file is not None:
            return places.told_at(places.secret_in(self.alert_urls_file, "EVERGREEN_ALERT_URLS_FILE"))
        return places.told_at(self.alert_urls.get_secret_value()) if self.alert_urls else []

    def secrets(self) -> list[str]:
        """Every secret value, and every password inside one as it is written and as it is meant."""
        fields = [getattr(self, name) for name in type(self).model_fields]
        whole = [field.get_secret_value() for field in fields if isinstance(field, SecretStr)]
        with suppress(EvergreenError):  # of the file; people are told of that where it is used
            whole += [part for each in self.alert_addresses for part in (each, each.partition("://")[2])]
        inside = [match[1] or match[2] for text in whole for match in PASSWORD.finditer(text)]
        return [text for text in dict.fromkeys([*whole, *inside, *map(unquote, inside)]) if text]

    @property
    def mlflow_artifacts(self) -> str:
        if self.artifact_root or places.is_address(self.storage or ""):
            return self.artifact_root or f"{self.storage}/mlartifacts"
        return (Path(self.storage or self.home) / "mlartifacts").as_uri()

    @property
    def spark_settings(self) -> dict[str, str]:
        """Spark's settings by name; a value may hold commas, for every setting's name begins with `spark.`."""
        found = [part.partition("=") for part in SPARK_SETTING.split(self.spark_conf) if part.strip()]
        return {name.strip(): value.strip() for name, _, value in found}

    @property
    def feature_repo(self) -> Path:
        return PROJECT / "feature_repo"

    @property
    def expectations(self) -> Path:
        return PROJECT / "expectations"


def around() -> transit.Around:
    """What the environment adds to addresses, in variables that are the libraries' own."""
    return transit.Around(
        tuple(os.environ.get(name, "") for name in ENDPOINTS), os.environ.get("PGSSLMODE", "")
    )


_SCRATCH: list[Settings] = []


@contextmanager
def scratch(home: Path) -> Iterator[Settings]:
    """Inside it this process is an embedded deployment of its own in a folder, whatever environment and .env say."""
    embedded = {name: field.get_default() for name, field in Settings.model_fields.items() if name != "home"}
    _SCRATCH.append(Settings(_env_file=None, home=home, **embedded))  # type: ignore[call-arg]
    settings.cache_clear()
    try:
        yield _SCRATCH[-1]
    finally:
        _SCRATCH.pop()
        settings.cache_clear()


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read once. EvergreenError names each one that cannot be used, never its value."""
    if _SCRATCH:
        return _SCRATCH[-1]
    try:
        return Settings()
    except ValidationError as error:
        faults = [f"EVERGREEN_{str(each['loc'][0]).upper()}: {each['msg']}" for each in error.errors()]
        raise EvergreenError(f"{'; '.join(faults)}; mend it in the environment or in .env") from None
