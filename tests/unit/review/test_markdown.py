"""Rules of the page: what was loosened comes first, and nothing a file says becomes markup, a mention or a command."""

import re

from hypothesis import given
from hypothesis import strategies as st

from pipelines.loop.checkup import Fault
from pipelines.review.changes.change import Change, Weight
from pipelines.review.changes.found import Diff, Touched
from pipelines.review.changes.markdown import as_plain, code, plain, rendered

HOSTILE = "</details><script>x</script> @everyone ```\n| a | [b](http://c) \x1b[31m \u202e ![i](j) **k**"


def page(*changes: Change, faults: tuple[Fault, ...] = (), elsewhere: tuple[str, ...] = ()) -> str:
    return rendered(diff(*changes, faults=faults, elsewhere=elsewhere))


def diff(*changes: Change, faults: tuple[Fault, ...] = (), elsewhere: tuple[str, ...] = ()) -> Diff:
    touched = Touched("m", "changed", "them", ("spec.yaml",), changes, faults)
    return Diff("main", "a" * 40, 0, (touched,), {}, {}, elsewhere)


def test_what_was_loosened_comes_before_everything_else() -> None:
    tight = Change("gate", "floor a", "1", "2", Weight.TIGHTENED)
    loose = Change("monitors", "decay", "x", None, Weight.LOOSENED)
    said = page(tight, loose, faults=(Fault("f:1", "w", "r"),))
    assert (
        said.index("### Loosened")
        < said.index("decay removed")
        < said.index("evergreen check")
        < said.index("floor a")
    )


def test_code_of_the_gate_itself_counts_as_loosened_until_somebody_has_looked() -> None:
    said = page(elsewhere=("pipelines/gate/rules/bounds.py", "pipelines/cli/own.py"))
    assert "### Loosened" in said
    assert said.index("pipelines/gate/rules/bounds.py") < said.index("### m: changed")
    assert "### Loosened" not in page(elsewhere=("pipelines/cli/own.py",))


def test_nothing_that_a_file_says_becomes_markup() -> None:
    change = Change("gate", HOSTILE, HOSTILE, HOSTILE, Weight.LOOSENED, HOSTILE, f"+{HOSTILE}\n+````` x")
    said = page(change, faults=(Fault(HOSTILE, HOSTILE, HOSTILE),))
    outside = re.sub(r"(?ms)^(`{3,})diff$.*?^\1$", "", said).splitlines()
    folded = [line for line in outside if line.startswith(("<details", "</details"))]
    assert len(folded) == 2
    assert re.fullmatch(r"<details><summary>[^<>]*</summary>", folded[0])
    for line in set(outside) - set(folded):
        bare = re.sub(r"\\.", "", re.sub(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", "", line.replace("\\`", "")))
        assert not re.search(r"[<>]|@\w|\]\(|\*\*k", bare.replace("->", "")), line
    assert "\x1b" not in said
    assert "\u202e" not in said


@given(st.text())
def test_code_holds_any_text_in_one_line_of_code(text: str) -> None:
    said = code(text)
    fence = re.match("`+", said)
    assert fence is not None
    assert "\n" not in said
    assert fence[0] not in said[len(fence[0]) : -len(fence[0])].strip("`") or set(text) <= {"`"}


@given(st.text(alphabet="@ab\n\x07|<>_*`"))
def test_a_sentence_calls_nobody_and_keeps_its_line(text: str) -> None:
    said = plain(text)
    assert not re.search(r"@\w", said)
    assert "\n" not in said
    assert not re.search(r"(?<!\\)[|<>*`]", said)


def test_machines_get_every_sentence_and_what_breaks() -> None:
    told = as_plain(
        diff(Change("gate", "floor a", "2", "1", Weight.LOOSENED), faults=(Fault("f:1", "w", "r"),))
    )
    assert told["loosened"] == [{"of": "m", "said": "floor a 2 -> 1: LOOSENED"}]
    assert told["breaks"]
    assert told["models"][0]["changes"][0]["weight"] == "LOOSENED"
