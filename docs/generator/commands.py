"""The command line as a page: typer's own documentation of it, with whole sentences in the list of commands."""

import re

from typer.cli import app as typer_cli
from typer.testing import CliRunner

CODES = re.compile(r"Exit codes: (.*?)\.\n", re.DOTALL)
ENTITIES = {"&#x27;": "'", "&quot;": '"'}


def page() -> str:
    """Every command with its arguments and options, and the exit codes."""
    answer = CliRunner().invoke(typer_cli, ["pipelines.cli", "utils", "docs", "--name", "evergreen"])
    if answer.exit_code:
        raise RuntimeError(f"typer did not document the command line: {answer.output}") from answer.exception
    text = answer.output
    for entity, sign in ENTITIES.items():
        text = text.replace(entity, sign)
    text = CODES.sub(_table, text, count=1)
    return re.sub(
        r"(?m)^\* `([a-z][a-z-]*)`: .*$", lambda listed: _whole(listed[1], listed.start(), text), text
    )


def _table(codes: re.Match[str]) -> str:
    """Exit codes as rows; each is a number and what it means."""
    rows = (code.split(" ", 1) for code in " ".join(codes[1].split()).split(", "))
    lines = "".join(f"| {number} | {meaning} |\n" for number, meaning in rows)
    return f"**Exit codes**:\n\n| code | meaning |\n| --- | --- |\n{lines}"


def _whole(name: str, position: int, text: str) -> str:
    """One line of the list of commands: its heading's link, and the first sentence of what it does."""
    group = re.findall(r"(?m)^#+ `(evergreen[a-z -]*)`$", text[:position])[-1]
    heading = f"`{group} {name}`"
    said = text.split(f"# {heading}\n\n", 1)[1].split("\n\n**", 1)[0]
    first = re.sub(r"^`evergreen [a-z-]+`: ", "", " ".join(said.split("\n\n")[0].split()))
    return f"* [`{name}`](#{heading.strip('`').replace(' ', '-')}): {first}"
