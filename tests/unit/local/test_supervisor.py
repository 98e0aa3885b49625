"""What a person is told of the services that run here."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.local.supervisor import Services
from pipelines.loop.summary import pages
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
