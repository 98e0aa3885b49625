"""What the repository itself shows: since when a file is as it is, and who looked at it."""

import subprocess
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path

OWNERS = (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS")
FORMAT = "%an%x00%aI%x00%(trailers:key=Reviewed-by,valueonly,separator=%x2C)"


@dataclass(frozen=True)
class Commit:
    """The last commit of a path: by whom, when, and who says to have reviewed it."""

    author: str
    at: datetime
    reviewers: tuple[str, ...]


def last(project: Path, path: str) -> Commit | None:
    """The last commit that touched a path; None where git knows none."""
    said = _git(project, "log", "-1", f"--format={FORMAT}", "--", path)
    if not said.strip():
        return None
    author, at, reviewers = said.rstrip("\n").split("\0")
    named = tuple(each.strip() for each in reviewers.split(",") if each.strip())
    return Commit(author, datetime.fromisoformat(at), named)


def committed(project: Path, path: str) -> datetime | None:
    """When a path was last committed; None if it is not, or differs since."""
    found = last(project, path)
    return None if found is None or dirty(project, path) else found.at


def dirty(project: Path, path: str) -> bool:
    """Whether a path differs from what was committed."""
    return bool(_git(project, "status", "--porcelain", "--untracked-files=all", "--", path).strip())


def owned(project: Path, path: str) -> bool:
    """Whether a CODEOWNERS names somebody for a path."""
    file = next((project / name for name in OWNERS if (project / name).is_file()), None)
    lines = file.read_text(encoding="utf-8").splitlines() if file else []
    rules = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    return any(len(rule) > 1 and _covers(rule[0], path) for rule in rules)


def _covers(pattern: str, path: str) -> bool:
    """A pattern of CODEOWNERS, as far as people use it: a folder, a name, or stars."""
    plain = pattern.strip("/")
    return pattern == "*" or path == plain or path.startswith(f"{plain}/") or fnmatchcase(path, plain)


def _git(project: Path, *command: str) -> str:
    try:
        done = subprocess.run(["git", *command], cwd=project, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""
