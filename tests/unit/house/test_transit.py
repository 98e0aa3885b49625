"""What counts as encrypted, that it is required by one setting, and that no refusal shows a secret."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import transit
from pipelines.contracts import EvergreenError
from pipelines.settings import ENDPOINTS, Settings
from pipelines.transit import State

DB, MLFLOW, REDIS = "database_url", "tracking_uri", "redis_url"
TABLE = [
    (DB, "sqlite:////tmp/x.db", State.HERE),
    (DB, "postgresql+psycopg2://a:b@127.0.0.1/x", State.HERE),
    (DB, "postgresql+psycopg2:///x?host=/run/postgresql", State.HERE),
    (DB, "postgresql+psycopg2://a:b@db/x", State.PLAIN),
    (DB, "postgresql+psycopg2://a:b@db/x?sslmode=prefer", State.PLAIN),
    (DB, "postgresql+psycopg2://a:b@db/x?sslmode=require", State.PLAIN),
    (DB, "postgresql+psycopg2://a:b@db/x?sslmode=verify-full&sslmode=disable", State.PLAIN),
    (DB, "postgresql+psycopg2://a:b@localhost/x?host=db", State.PLAIN),
    (DB, "postgresql+psycopg2://a:b@db/x?sslmode=verify-full&sslrootcert=/ca.pem", State.ENCRYPTED),
    (DB, "mysql://a:b@db/x", State.PLAIN),
    (MLFLOW, "http://a:b@localhost:5000", State.HERE),
    (MLFLOW, "http://a:b@mlflow:5000", State.PLAIN),
    (MLFLOW, "https://a:b@mlflow:5000", State.ENCRYPTED),
    (MLFLOW, "postgresql://a:b@db/mlflow?sslmode=verify-ca", State.ENCRYPTED),
    (REDIS, "localhost:6379,password=b", State.HERE),
    (REDIS, "redis:6379,password=b", State.PLAIN),
    (REDIS, "localhost:6379,redis:6379,password=b", State.PLAIN),
    (REDIS, "redis:6379,password=b,ssl=true", State.ENCRYPTED),
    (REDIS, "redis:6379,password=b,ssl=true,ssl_cert_reqs=none", State.PLAIN),
    ("lake", "/data/lake", State.HERE),
    ("lake", "s3://lake", State.ENCRYPTED),
    ("host", "0.0.0.0", State.PLAIN),  # noqa: S104
    ("serving_url", "http://serving:8000", State.PLAIN),
    ("serving_url", "https://serving:8000", State.ENCRYPTED),
    ("mlflow_url", "http://mlflow.example", State.PLAIN),
    ("serving_oidc_issuer", "http://issuer.example", State.PLAIN),
    ("serving_oidc_jwks", "/etc/jwks.json", State.HERE),
    ("alert_urls", "jsons://hooks.example/x json://127.0.0.1/y", State.ENCRYPTED),
    ("alert_urls", "jsons://hooks.example/x json://hooks.example/y", State.PLAIN),
    ("alert_urls", "jsons://hooks.example/x?verify=no", State.PLAIN),
    ("alert_urls", "slack://a/b/c", State.ENCRYPTED),
]
SHOWN = {"host": "EVERGREEN_SERVING_TLS_CERT"}


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*ENDPOINTS, "PGSSLMODE"):
        monkeypatch.delenv(name, raising=False)


def settings(name: str, value: str, **more: Any) -> Settings:
    return Settings(_env_file=None, online_store="redis", **{name: value}, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "value", "state"), TABLE)
def test_each_connection_is_judged_by_what_its_setting_says(name: str, value: str, state: State) -> None:
    setting = SHOWN.get(name, f"EVERGREEN_{name.upper()}")
    found = {each.setting: each.state for each in settings(name, value).connections}
    assert found[setting] is state
    assert {other for key, other in found.items() if key != setting} == {State.HERE}


@pytest.mark.parametrize(("name", "value", "state"), TABLE)
def test_required_refuses_what_is_plain_and_takes_everything_else(
    name: str, value: str, state: State
) -> None:
    if state is not State.PLAIN:
        assert settings(name, value, tls="required").tls == "required"
        return
    with pytest.raises(EvergreenError, match="EVERGREEN_TLS=required") as said:
        settings(name, value, tls="required")
    assert SHOWN.get(name, f"EVERGREEN_{name.upper()}") in str(said.value)
    assert value not in str(said.value)


def test_every_plain_connection_is_named_at_once() -> None:
    with pytest.raises(EvergreenError) as said:
        settings(DB, "postgresql://a:b@db/x", tls="required", tracking_uri="http://mlflow:5000")
    assert "EVERGREEN_DATABASE_URL" in str(said.value)
    assert "EVERGREEN_TRACKING_URI" in str(said.value)


@pytest.mark.parametrize("variable", ENDPOINTS)
def test_an_object_store_is_encrypted_unless_its_endpoint_is_not(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for endpoint, state in (("http://objects:8333", State.PLAIN), ("https://objects", State.ENCRYPTED)):
        monkeypatch.setenv(variable, endpoint)
        lake = {each.setting: each for each in settings("lake", "s3://lake").connections}["EVERGREEN_LAKE"]
        assert lake.state is state


def test_libpqs_own_variable_counts_where_the_address_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for mode, state in (("require", State.PLAIN), ("verify-full", State.ENCRYPTED)):
        monkeypatch.setenv("PGSSLMODE", mode)
        found = {each.setting: each.state for each in settings(DB, "postgresql://a:b@db/x").connections}
        assert found["EVERGREEN_DATABASE_URL"] is state
    found = {
        each.setting: each.state for each in settings(DB, "postgresql://a:b@db/x?sslmode=prefer").connections
    }
    assert found["EVERGREEN_DATABASE_URL"] is State.PLAIN


@given(st.text(max_size=40), st.sampled_from(["", "postgresql://", "http://", "redis://", "s3://", "x://["]))
def test_any_text_is_judged_and_none_is_repeated(text: str, before: str) -> None:
    found = transit.judged("EVERGREEN_X", "it", before + text)
    assert found.state in set(State)
    assert found == found._replace(setting="EVERGREEN_X", what="it")
    assert transit.online("EVERGREEN_X", "it", text).state in set(State)


def test_a_secret_in_a_file_is_taken_as_if_it_stood_in_its_variable(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://ada:hush@db/x\n")
    file.chmod(0o440)
    for name in ("database_url", "tracking_uri"):
        found = Settings(_env_file=None, **{f"{name}_file": file})  # type: ignore[arg-type]
        assert getattr(found, name).get_secret_value() == "postgresql://ada:hush@db/x"
        assert "hush" in found.secrets()
        assert Settings(_env_file=None, **found.model_dump()) == found
        with pytest.raises(EvergreenError, match=f"EVERGREEN_{name.upper()}_FILE are both set"):
            Settings(_env_file=None, **{name: "sqlite://", f"{name}_file": file})  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", [0o444, 0o604, 0o660, 0o602, 0o640 | 0o1])
def test_a_secret_that_others_may_use_is_refused_with_the_remedy(mode: int, tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("redis:6379,password=hush")
    file.chmod(mode)
    with pytest.raises(EvergreenError, match=r"EVERGREEN_REDIS_URL_FILE.*chmod 600") as said:
        Settings(_env_file=None, redis_url_file=file)
    assert "hush" not in str(said.value)


def test_every_secret_setting_can_be_given_as_a_file() -> None:
    """A new secret gets its file with it."""
    from pydantic import SecretStr

    secret = [name for name, field in Settings.model_fields.items() if SecretStr in _kinds(field.annotation)]
    assert len(secret) >= 5
    assert [name for name in secret if f"{name}_file" not in Settings.model_fields] == []


def _kinds(annotation: Any) -> tuple[Any, ...]:
    return getattr(annotation, "__args__", (annotation,))
