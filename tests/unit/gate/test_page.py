"""Rules about the page of a decision."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from html import escape
from html.parser import HTMLParser

import pytest

from pipelines.contracts import Decision, Kind, Rule, Verdict
from pipelines.gate.report.page import groups, page
from pipelines.record.card import as_page
from pipelines.stores.audit.licences import Licence

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
EVIL = "<script>alert(1)</script>"
RULES = (
    Rule("enough rows", Decision.PASS, "986 held-out rows", 986, 200, kind=Kind.AT_LEAST),
    Rule("log_loss better than the champion's", Decision.PASS, "improves", 0.01, 0.0, 0.002, 0.02, Kind.ABOVE),
    Rule("slice origin = EWR", Decision.PASS, "improves", 0.01, -0.05, -0.01, 0.03, Kind.NOT_BELOW, rows=400),
    Rule("slice carrier, small ones", Decision.PASS, f"not judged: {EVIL}"),
    Rule("calibration in the large", Decision.PASS, "0.01 apart", 0.01, 0.08, 0.0, 0.02, Kind.AT_MOST),
    Rule("fairness of origin: equalized_odds_difference", Decision.PASS, "0.1", 0.1, 0.2, 0, 0.2, Kind.AT_MOST),
    Rule("behaviour: names say nothing", Decision.PASS, "moved by 0", 0.0, 0.0, kind=Kind.AT_MOST),
    Rule("serves: loads and answers", Decision.PASS, "loaded in 3 s"),
)  # fmt: skip
VERDICT = Verdict(
    "flight_delays", 7, "d" * 64, Decision.PASS, RULES, 986,
    {"candidate": {"log_loss": 0.5}, "champion": {"log_loss": 0.6}},
    6, "t" * 64, NOW, NOW, champion_digest="c" * 64, spec_digest="5" * 64, code="91d0ec3", evidence="e" * 64,
)  # fmt: skip
DETAILS = {
    "by": EVIL,
    "held_out": "986 rows",
    "calibration": {"candidate": [(0.1, 0.12, 493), (0.6, 0.58, 493)]},
    "fairness": [
        {"group": "origin", "groups": [{"group": EVIL, "rows": 400, "judged": False, "selection_rate": None}]}
    ],
    "importance": {"loss": "log_loss", "rows": 500, "columns": [{"name": EVIL, "mean": 0.1, "spread": 0.01}]},
}


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_runs_nothing_and_fetches_nothing() -> None:
    tags = Tags(page(VERDICT, DETAILS)).found
    assert len(tags) > 50
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in tags}
    assert not [a for _, attributes in tags for a in attributes if a.startswith("on") or a in ("src", "href")]
    assert "default-src 'none'" in page(VERDICT)


def test_nothing_from_outside_is_taken_for_html() -> None:
    text = page(replace(VERDICT, model=EVIL, code=EVIL), DETAILS)
    assert EVIL not in text
    assert text.count("&lt;script&gt;") >= 6
    assert "<script" not in as_page(EVIL, f"# a\n\n{EVIL}\n\n[x](javascript:alert(1))")


@pytest.mark.parametrize("decision", list(Decision))
def test_the_verdict_is_the_first_thing_said(decision: Decision) -> None:
    text = page(replace(VERDICT, decision=decision), DETAILS)
    assert f"<h1>{decision.value}</h1>" in text
    assert f'<header class="{decision.value.lower()}">' in text


def test_what_kept_it_from_passing_comes_first_and_failures_before_doubts() -> None:
    doubt = replace(RULES[1], decision=Decision.INCONCLUSIVE)
    failed = replace(RULES[4], decision=Decision.FAIL)
    text = page(replace(VERDICT, decision=Decision.FAIL, rules=(doubt, failed, *RULES[5:])), DETAILS)
    before = text[: text.index("Against the others")]
    assert 0 < before.index(escape(failed.name)) < before.index(escape(doubt.name))
    assert "What kept it from passing" not in page(VERDICT, DETAILS)


def test_every_rule_is_shown_exactly_in_one_group() -> None:
    rules = [*RULES, Rule("class virginica is found", Decision.PASS, "in 9 rows of ten")]
    found = groups(rules)
    assert sorted(r.name for part in found.values() for r in part) == sorted(r.name for r in rules)
    assert all(found.values())
    assert [r.name for r in found["comparisons"]] == ["log_loss better than the champion's"]
    older = Rule("not staler than the champion", Decision.PASS, "it knows more")
    assert groups([older])["others"] == [older]


def test_each_interval_is_drawn_and_its_numbers_are_told() -> None:
    text = page(VERDICT, DETAILS)
    assert len(re.findall(r'class="range pass"', text)) == 2
    assert "0.0100, from 0.0020 to 0.0200, bound 0" in text


def test_an_override_is_shown_loudly_with_who_and_why() -> None:
    loud = Licence(
        "flight_delays", 7, "d", "OVERRIDE", "r", "cli: maria", NOW, f"the champion is broken {EVIL}"
    )
    failed = replace(VERDICT, decision=Decision.FAIL)
    text = page(failed, DETAILS, loud)
    assert text.index('class="override"') < text.index("<h1>")
    assert "cli: maria" in text
    assert "the champion is broken &lt;script" in text
    assert 'class="override"' not in page(failed, DETAILS)
    assert 'class="override"' not in page(VERDICT, DETAILS, replace(loud, decision="PASS"))


def test_a_verdict_without_details_is_a_page_as_well() -> None:
    assert "<h1>PASS</h1>" in page(VERDICT)
    assert "No rule was tried" in page(replace(VERDICT, rules=(), metrics={}, decision=Decision.INCONCLUSIVE))
