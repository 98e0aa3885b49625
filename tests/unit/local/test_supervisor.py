"""What a person is told of the services that run here."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.contracts import EvergreenError
from pipelines.local.supervisor import Service, Services, _record, attended
from pipelines.loop.summary import pages
from pipelines.processes import born
from pipelines.settings import Settings

TLS = {"serving_tls_cert": Path("/c.pem"), "serving_tls_key": Path("/k.pem")}
OIDC = {
    "serving_access": "oidc",
    "serving_oidc_issuer": "https://issuer.example",
    "serving_oidc_audience": "us",
}


@pytest.mark.parametrize(
    ("given", "address", "known"),
    [
        ({}, "http://127.0.0.1:8000", "no log-in, loopback only"),
        ({"serving_access": "keys"}, "http://127.0.0.1:8000", "a key of `evergreen keys`"),
        (TLS | OIDC, "https://127.0.0.1:8000", "a token of the issuer"),
        (TLS | {"serving_url": "https://models.example"}, "https://models.example", "no log-in"),
    ],
)
def test_where_predictions_are_asked_for_is_told_with_what_it_takes(
    given: dict[str, Any], address: str, known: str
) -> None:
    settings = Settings(_env_file=None, **given)
    (line,) = [each for each in Services((), settings, None).told() if each.startswith("Predictions")]
    assert f"{address}/docs" in line
    assert known in line
    assert pages(settings)["Predictions API"] == f"{address}/docs"
    assert pages(settings)["Metrics"] == f"{address}/metrics"


def test_a_service_that_ended_by_itself_is_named_with_what_starts_it(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, home=tmp_path)
    assert attended(settings) == "none was started here"
    mine = Service("airflow-scheduler", os.getpid(), born(os.getpid()) or 0)
    _record(settings, [mine])
    assert attended(settings) == "airflow-scheduler"
    assert examined() == (0, True)
    _record(settings, [mine, Service("airflow-triggerer", mine.pid, mine.born - 1)])
    with pytest.raises(EvergreenError, match=r"^airflow-triggerer was started here.*logs.*evergreen start"):
        attended(settings)
    assert examined() == (1, False)


def examined() -> tuple[int, bool]:
    """How the doctor ends, and whether the services are well."""
    done = CliRunner().invoke(app, ["doctor", "--json"])
    (services,) = [each for each in json.loads(done.stdout) if each["check"] == "services"]
    return done.exit_code, services["ok"]
