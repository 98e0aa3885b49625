"""The tutorial played once per test run, in a clone of its own; what it leaves is there to be read."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.scaffold.project import copied
from pipelines.settings import PROJECT
from tests.documented import played, shown
from tests.once import once

TUTORIAL = PROJECT / "docs" / "tutorial.md"
FOREIGN = ("EVERGREEN_", "PYTHONDONTWRITEBYTECODE")
"""A person's shell has none of it; without bytecode each command would compile the clone's code again."""


def tutorial(factory: pytest.TempPathFactory) -> Path:
    """A folder with the clone in `clone` and in `shown.json` what each command showed."""
    return once(factory, "tutorial", _played)


def _played(folder: Path) -> None:
    clone = _cloned(folder)
    found = played(shown(TUTORIAL), clone, environment(clone))
    (folder / "shown.json").write_text(json.dumps(found))


def _cloned(folder: Path) -> Path:
    """The project as a clone has it: under git, with its environment installed."""
    clone = folder / "clone"
    clone.mkdir()
    copied(clone)
    (clone / ".venv").symlink_to(Path(sys.executable).parent.parent)
    (clone / ".gitignore").write_text((PROJECT / ".gitignore").read_text() + ".venv\n")
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "As cloned"]):
        subprocess.run(["git", *command], cwd=clone, env=environment(clone), check=True)
    return clone


def environment(clone: Path) -> dict[str, str]:
    """That of a person's shell, with this clone's code first and a port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    who = {f"GIT_{role}_{what}": "ada" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    own = {
        "PYTHONPATH": str(clone),
        "COLUMNS": "100",
        "EVERGREEN_SERVING_PORT": str(port),
        "EVERGREEN_THREADS": "1",
    }
    return kept | who | own
