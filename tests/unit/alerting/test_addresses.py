"""Addresses are checked as the settings are read, in words, without being shown."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.contracts import EvergreenError
from pipelines.places import told_at
from pipelines.settings import Settings, settings

SECRET = "T0KEN-hunter2"
BAD = [
    f"hooks.example/{SECRET}",
    f"file:///etc/{SECRET}",
    f"ftp://hooks.example/{SECRET}",
    f"https://hooks.example/{SECRET}",
    f"jsons:///{SECRET}",
    f"jsons://hooks.example/a b/{SECRET}",
    f"jsons://hooks.example:notaport/{SECRET}",
    f"jsons://hooks.example:99999/{SECRET}",
    f"jsons://hooks.example/é{SECRET}",
    f"jsons://hooks.example/{SECRET}\nX: y",
    f"javascript:{SECRET}",
    f"jsons://[::1/{SECRET}",
    f"jsons:hooks.example/{SECRET}",
    f"syslog://{SECRET}",
    f"dbus://{SECRET}",
    f"windows://{SECRET}",
    f"apprise://host/{SECRET}?file=/etc/passwd",
    f"json://good.example/ jsons://{SECRET}:0/",
]
GOOD = [
    "jsons://hooks.example/T/B/x",
    "json://127.0.0.1:8123/",
    "JSON://[::1]:8/x?y=%20",
    "mailtos://ada:pass%20word@smtp.example.org:465/?to=a@x.org,b@x.org",
    "slack://TokenA/TokenB/TokenC/#models",
    "tgram://123456789:abcdefg_hijklmnop/12315544/",
]


@pytest.mark.parametrize("address", BAD)
def test_a_bad_address_is_refused_at_the_start_and_not_shown(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EvergreenError, match="EVERGREEN_ALERT_URLS") as said:
        Settings(_env_file=None, alert_urls=SecretStr(address))
    assert SECRET not in str(said.value)
    monkeypatch.setenv("EVERGREEN_ALERT_URLS", address)
    settings.cache_clear()
    for command in (["start"], ["doctor"], ["doctor", "--json"], ["alerts"]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 1
        assert "EVERGREEN_ALERT_URLS" in done.output
        assert SECRET not in done.output


@pytest.mark.parametrize("address", GOOD)
def test_a_good_address_is_taken_as_it_is(address: str) -> None:
    assert Settings(_env_file=None, alert_urls=SecretStr(address)).alert_addresses == [address]


@pytest.mark.parametrize("between", [" ", ",", ", ", "\n", " ,\n"])
def test_several_addresses_stand_apart_by_spaces_commas_or_lines(between: str) -> None:
    assert told_at(f" {between.join(GOOD)}{between}") == GOOD
    assert told_at("  ") == []
    assert Settings(_env_file=None, alert_urls=SecretStr("")).alert_addresses == []


def test_a_file_of_addresses_is_for_nobody_else_and_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "urls"
    for mode, text in ((0o600, "\n".join(GOOD)), (0o400, GOOD[0])):
        file.unlink(missing_ok=True)
        file.write_text(text)
        file.chmod(mode)
        found = Settings(_env_file=None, alert_urls_file=file)
        assert found.alert_addresses == text.split("\n")
        assert set(found.alert_addresses) <= set(found.secrets())
    file.chmod(0o644)
    with pytest.raises(EvergreenError, match="chmod 600"):
        Settings(_env_file=None, alert_urls_file=file)
    with pytest.raises(EvergreenError, match="no text that can be read"):
        Settings(_env_file=None, alert_urls_file=tmp_path / "none")
    with pytest.raises(EvergreenError, match="both set"):
        Settings(_env_file=None, alert_urls_file=file, alert_urls=SecretStr(GOOD[0]))
    file.chmod(0o600)
    file.write_text(f"ftp://{SECRET}")
    with pytest.raises(
        EvergreenError, match="EVERGREEN_ALERT_URLS_FILE: alerts cannot go to address 1"
    ) as said:
        Settings(_env_file=None, alert_urls_file=file)
    assert SECRET not in str(said.value)
