"""Secrets in settings: what may be shown of them, and that they still open what they open."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts import EvergreenError
from pipelines.settings import Settings

SECRETS = {
    "tracking_uri": "http://ada:hush-1@127.0.0.1:1",
    "database_url": "postgresql+psycopg2://ada:hush-2@127.0.0.1/x",
    "redis_url": "127.0.0.1:1,password=hush-3",
    "alert_urls": "jsons://hooks.example/hush-4",
}
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=20)


def test_no_way_to_show_settings_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(f"EVERGREEN_{name.upper()}", value)
    found = Settings(_env_file=None)
    shown = [str(found), repr(found), found.model_dump_json(), json.dumps(found.model_dump(), default=str)]
    assert all("127.0.0.1" in text for text in shown)
    assert not [text for text in shown if "hush" in text]
    assert set(SECRETS.values()) | {"hush-1", "hush-2", "hush-3"} <= set(found.secrets())


@given(WORDS, WORDS)
def test_the_login_in_a_servers_address_is_taken_out_of_it_and_kept(user: str, password: str) -> None:
    uri = f"https://{quote(user, safe='')}:{quote(password, safe='')}@mlflow.example:5000/under?x=1@2"
    found = Settings(_env_file=None, tracking_uri=uri)
    assert found.mlflow_uri == "https://mlflow.example:5000/under?x=1@2"
    assert found.mlflow_login == (user, password)
    assert {uri, password} <= set(found.secrets())


@pytest.mark.parametrize(
    ("uri", "login"),
    [
        ("http://mlflow:5000", None),
        ("http://mlflow:5000/a:b@c", None),
        ("http://ada@mlflow:5000", ("ada", "")),
        ("http://ada:with@sign@mlflow:5000", ("ada", "with@sign")),
        ("postgresql://ada:hush@db/mlflow", None),
        ("sqlite:////tmp/a:b@c.db", None),
    ],
)
def test_an_address_without_a_login_stays_as_it_is(uri: str, login: tuple[str, str] | None) -> None:
    found = Settings(_env_file=None, tracking_uri=uri)
    assert found.mlflow_login == login
    assert found.mlflow_uri == (uri if login is None else "http://mlflow:5000")


def test_the_key_in_a_file_is_read_anew_and_what_is_no_key_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.touch(mode=0o600)
    found = Settings(_env_file=None, serving_key_file=file)
    for key in ("first", "second"):
        file.write_text(f"{key}\n")
        assert found.serving_headers == {"Authorization": f"Bearer {key}"}
    assert Settings(_env_file=None, serving_key="k").serving_headers == {"Authorization": "Bearer k"}
    assert Settings(_env_file=None).serving_headers == {}
    for broken in (b"hush\nhush", b"\xff hush"):
        file.write_bytes(broken)
        with pytest.raises(EvergreenError, match="EVERGREEN_SERVING_KEY_FILE") as caught:
            _ = found.serving_headers
        assert "hush" not in str(caught.value)
    file.unlink()
    with pytest.raises(EvergreenError, match="can be read"):
        _ = found.serving_headers


def test_mlflow_lies_under_home_unless_told_otherwise(tmp_path: Path) -> None:
    found = Settings(_env_file=None, home=tmp_path)
    assert (found.mlflow_uri, found.mlflow_login) == (f"sqlite:///{tmp_path}/mlflow.db", None)
    assert found.secrets() == []


def test_settings_of_spark_are_read_by_name_and_a_value_may_hold_commas() -> None:
    conf = "spark.executor.memory=4g, spark.jars.packages=a:b:1,c:d:2,spark.driver.host = 10.0.0.9"
    assert Settings(_env_file=None, spark_conf=conf).spark_settings == {
        "spark.executor.memory": "4g",
        "spark.jars.packages": "a:b:1,c:d:2",
        "spark.driver.host": "10.0.0.9",
    }
    assert Settings(_env_file=None).spark_settings == {}


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ("executor.memory=4g", "must look like spark"),
        ("spark.executor.memory", "must look like spark"),
        ("spark.hadoop.fs.s3a.secret.key=hush", "spark-defaults"),
        ("spark.executor.cores=2,spark.authenticate.secret=hush", "spark-defaults"),
        ("spark.ssl.keyStorePassword=hush", "spark-defaults"),
    ],
)
def test_settings_of_spark_that_are_none_or_are_secret_are_refused_without_their_value(
    conf: str, said: str
) -> None:
    with pytest.raises(EvergreenError, match=said) as refused:
        Settings(_env_file=None, spark_conf=conf)
    assert "hush" not in str(refused.value)
