"""What people read is data: it calls nobody, steers nothing, has no secret, and says whether to act."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from pipelines.alerting.alert import Alert
from pipelines.alerting.kinds import Kind
from pipelines.alerting.message import LONGEST_LINE, Message, message, more, plain, record
from pipelines.stores.watching.alerts import Telling

SINCE = datetime(2013, 4, 1, 6, 30, tzinfo=UTC)


def test_a_message_says_what_since_when_why_whether_to_act_where_to_look_and_the_runbook() -> None:
    alert = Alert(Kind.DRIFT, "m", "m drifted", "two columns moved", "evergreen monitor m", SINCE)
    said = message(record(alert, []), Telling.OPENED, None)
    assert said.title == "[warning] m drifted"
    lines = said.body.splitlines()
    assert lines[:3] == ["m drifted", "Since: 2013-04-01 06:30 UTC", "Why: two columns moved"]
    assert lines[3].startswith("Act: Not now. ")
    assert lines[4] == "Look: evergreen monitor m"
    assert lines[5].startswith("Runbook: docs/how-to/be-told.md#drift: ")


@given(st.text())
def test_whatever_a_text_holds_it_is_one_line_that_calls_nobody(text: str) -> None:
    shown = plain(text)
    assert shown.replace("\u200b", "").isprintable()
    assert len(shown) <= LONGEST_LINE
    for call in ("@channel", "@everyone", "<!here>", "<@U1>"):
        assert call not in plain(f"{text[:500]}{call}")


def test_a_secret_that_an_error_repeats_is_blotted_out() -> None:
    alert = Alert(Kind.TASK_FAILED, "t", "t failed", "postgresql://ada:hush@db said no, hush", "look")
    assert record(alert, ["hush", "postgresql://ada:hush@db"])["why"] == "*** said no, ***"


def test_many_alerts_are_one_message_as_severe_as_the_worst() -> None:
    some = [Message(f"[{severity}] x", "b", severity) for severity in ("info", "critical", "warning")]
    assert more(some).title == "[critical] 3 more alerts"
