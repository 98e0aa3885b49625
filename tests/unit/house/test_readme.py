"""What README and docs say can be done, can be done."""

import re

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.settings import PROJECT

TEXTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
COMMANDS = sorted({m for t in TEXTS for m in re.findall(r"\bevergreen ([a-z-]+)\b(?! of)", t.read_text())})
TARGETS = sorted({m for t in TEXTS for m in re.findall(r"(?m)(?:^|`)make ([a-z-]+)\b", t.read_text())})


def test_there_is_something_to_check() -> None:
    assert len(COMMANDS) >= 5
    assert {"run", "test", "check", "stop", "clean"} <= set(TARGETS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_the_docs_name_exists(command: str) -> None:
    answer = CliRunner().invoke(app, [command, "--help"])
    assert answer.exit_code == 0, answer.output


@pytest.mark.parametrize("target", TARGETS)
def test_every_make_target_the_docs_name_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (PROJECT / "Makefile").read_text(), re.MULTILINE)


def test_every_picture_and_link_of_ours_exists() -> None:
    found = 0
    for text in TEXTS:
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", text.read_text()):
            assert (text.parent / link).exists(), (text, link)
            found += 1
    assert found > 5


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["ingest", "fligths"], 1, "no dataset named"),
        (["train", "flight_delays"], 5, "evergreen replay"),
        (["replay", "flight_delays", "--from", "soon"], 1, "not a day"),
        (["predict", "flight_delays", "carrier"], 1, "not name=value"),
        (["predict", "flight_delays", "color=red"], 1, "takes no color"),
        (["features", "compute", "--as-of", "2013-04-01"], 1, "needs a zone"),
        (["features", "backfill", "--from", "soon", "--to", "2013-01-02"], 1, "not a day"),
        (["impact", "wings"], 1, "feature:VIEW"),
        (["validate", "nowhere.csv"], 1, "no dataset has a pattern"),
    ],
)
def test_a_mistake_gets_one_sentence_with_the_remedy(arguments: list[str], code: int, said: str) -> None:
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == code, answer.output
    assert said in " ".join(answer.output.split())
    assert "Traceback" not in answer.output


def test_the_doctor_finds_a_fresh_home_well() -> None:
    answer = CliRunner().invoke(app, ["doctor", "--json"])
    assert answer.exit_code == 0, answer.output
