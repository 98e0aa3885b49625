"""Every kind of alert is declared once, and the runbook has a place for each; ways of telling are Apprise's own."""

import re

import pytest

from pipelines.alerting.alert import LONGEST_KEY, Alert, Well, key
from pipelines.alerting.kinds import KINDS, Kind, Severity
from pipelines.places import TOLD_BY
from pipelines.settings import PROJECT

RUNBOOK = (PROJECT / "docs" / "how-to" / "be-told.md").read_text()


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_says_how_severe_it_is_whether_to_act_and_has_its_place_in_the_runbook(kind: Kind) -> None:
    facts = KINDS[kind]
    assert facts.act.startswith(("Yes. ", "No. ", "Not now. ", "If it is told again. "))
    assert facts.act.startswith("Yes.") or facts.severity is not Severity.CRITICAL
    section = re.search(rf"(?m)^### {kind.anchor}\n\n(\S.+)$", RUNBOOK)
    assert section is not None
    assert (
        Alert(kind, "x", "what", "why", "look").runbook
        == f"docs/how-to/be-told.md#{kind.anchor}: {facts.runbook}"
    )


def test_the_runbook_has_no_place_for_what_is_never_told() -> None:
    places = re.findall(r"(?m)^### (\S+)$", RUNBOOK)
    assert places
    assert set(places) == {kind.anchor for kind in Kind}


def test_severities_rise_from_info_to_critical() -> None:
    assert [each.rank for each in (Severity.INFO, Severity.WARNING, Severity.CRITICAL)] == [0, 1, 2]


def test_what_is_well_has_the_key_of_its_alert_and_long_names_have_keys_of_their_own() -> None:
    alert = Alert(Kind.DRIFT, "m", "what", "why", "look")
    assert alert.key == Well(Kind.DRIFT, "m").key == "drift:m"
    long = [key(Kind.FILE_ODD, "x" * 500 + end) for end in "ab"]
    assert len(set(long)) == 2
    assert {len(each) for each in long} == {LONGEST_KEY}
    assert key(Kind.FILE_ODD, "a\0\ud800b").isprintable()


def test_alerts_go_only_ways_that_apprise_has_and_that_are_not_of_this_machine() -> None:
    from apprise.manager_plugins import NotificationManager

    known = set(NotificationManager().schemas())
    assert len(known) > 100
    assert known >= TOLD_BY
    here = {
        "dbus",
        "gnome",
        "kde",
        "macosx",
        "windows",
        "syslog",
        "blink1",
        "glib",
        "qt",
        "file",
        "http",
        "https",
    }
    assert TOLD_BY & here == set()
