"""The map of other people's lists has every line of them, and names only commands and files that there are."""

import re
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.settings import PROJECT

PAGE = (PROJECT / "docs" / "explanation" / "mlops.md").read_text()
ROWS = re.findall(r"(?m)^\| (\d+|[PC]\d) ([^|]+?) \| ([^|]+) \| ([^|]+) \| ([^|]*)\|$", PAGE)
NAMED = sorted(set(re.findall(r"`([^`\n]+)`", PAGE)))
COMMANDS = [name for name in NAMED if name.startswith("evergreen ")]
FILES = [name for name in NAMED if "/" in name or name.endswith((".md", ".yml"))]


def test_every_line_of_each_list_is_there_once() -> None:
    numbers = [number for number, *_ in ROWS]
    pillars, levels = [str(n) for n in range(1, 11)], ["0", "1", "2"]
    assert numbers == [*pillars, *(f"P{n}" for n in range(1, 10)), *(f"C{n}" for n in range(1, 10)), *levels]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} {row[1]}")
def test_each_line_names_what_does_it_and_a_command_that_shows_it(row: tuple[str, ...]) -> None:
    assert row[2].strip()
    shown = re.findall(r"`([^`]+)`", row[3])
    assert shown
    assert all(each.startswith(("evergreen ", "make ")) for each in shown)


def _words(command: str) -> Iterator[str]:
    """The words of a command that are its own name and its groups'."""
    for word in command.split()[1:]:
        if not re.fullmatch(r"[a-z-]+", word):
            return
        yield word


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_exists(command: str) -> None:
    answer = CliRunner().invoke(app, [*_words(command), "--help"])
    assert answer.exit_code == 0, answer.output


def test_every_file_and_target_exists() -> None:
    assert len(FILES) > 20
    assert [name for name in FILES if not (PROJECT / name).exists()] == []
    makefile = (PROJECT / "Makefile").read_text()
    targets = {name.split()[1] for name in NAMED if name.startswith("make ")}
    assert targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_what_is_missing_is_said() -> None:
    assert sum(bool(row[4].strip()) for row in ROWS) > 10


def test_each_list_is_cited_with_its_address() -> None:
    assert len(re.findall(r"<https://[^>]+>", PAGE)) == 4
