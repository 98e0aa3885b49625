"""What git knows of another revision: the bytes of its files, none of which is run or checked out."""

import subprocess
from pathlib import Path

from pipelines.contracts import EvergreenError


def commit_of(revision: str, root: Path) -> str:
    """The full hash of a revision; EvergreenError says what keeps git from knowing it."""
    inside, _, why = _git(root, "rev-parse", "--is-inside-work-tree")
    if not inside:
        raise EvergreenError(
            f"{root} is no git checkout ({why}); a change is told from its history: clone it with git"
        )
    if revision.startswith("-"):
        raise EvergreenError(f"{revision!r} is no revision; name a commit, branch or tag such as origin/main")
    known, found, _ = _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if not known:
        raise EvergreenError(f"git knows no revision {revision!r} here; {_remedy(root)}")
    return found.decode().strip()


def _remedy(root: Path) -> str:
    _, shallow, _ = _git(root, "rev-parse", "--is-shallow-repository")
    if shallow.strip() == b"true":
        return "this clone is shallow: `git fetch --unshallow` (in CI: fetch-depth: 0) brings the rest of its history"
    return "`git fetch` brings what others pushed, `git log --oneline --all` shows what there is"


def meeting_point(commit: str, root: Path) -> str:
    """The commit at which a revision and this checkout parted; EvergreenError if they share none."""
    shared, found, _ = _git(root, "merge-base", commit, "HEAD")
    if not shared:
        raise EvergreenError(f"{commit[:12]} and this checkout have no commit in common; {_remedy(root)}")
    return found.decode().strip()


def missing_here(commit: str, root: Path) -> int:
    """How many commits a revision has that this checkout lacks: their changes would be told backwards."""
    known, found, _ = _git(root, "rev-list", "--count", f"HEAD..{commit}")
    return int(found) if known else 0


def files_at(commit: str, folders: tuple[str, ...], root: Path) -> dict[str, bytes]:
    """Every regular file of a commit below these folders, by its path from `root`."""
    _, listed, _ = _git(root, "ls-tree", "-r", "-z", commit, "--", *folders)
    found = dict(_entry(line) for line in listed.split(b"\0") if line.startswith(b"100"))
    contents = _contents(sorted(set(found.values())), root)
    return {path: contents[digest] for path, digest in found.items()}


def _entry(line: bytes) -> tuple[str, str]:
    facts, _, path = line.partition(b"\t")
    return path.decode("utf-8", "surrogateescape"), facts.split()[2].decode()


def _contents(digests: list[str], root: Path) -> dict[str, bytes]:
    """The bytes of objects; a partial clone fetches those that it lacks."""
    known, said, why = _git(root, "cat-file", "--batch", given="\n".join(digests).encode())
    if not known:
        raise EvergreenError(f"git could not read {len(digests)} files of the revision: {why}")
    found, at = {}, 0
    for digest in digests:
        end = said.index(b"\n", at)
        header = said[at:end].split()
        if header[-1] == b"missing":
            raise EvergreenError(f"git lacks the object {digest}; `git fetch` brings it")
        size = int(header[2])
        found[digest] = said[end + 1 : end + 1 + size]
        at = end + size + 2
    return found


def _git(root: Path, *command: str, given: bytes = b"") -> tuple[bool, bytes, str]:
    """Whether git did it, what it said, and what it complained of."""
    try:
        done = subprocess.run(["git", *command], cwd=root, input=given, capture_output=True, check=False)
    except FileNotFoundError:
        raise EvergreenError(
            "git is not installed; a change is told from its history, so install it"
        ) from None
    complaint = done.stderr.decode(errors="replace").strip().splitlines()
    return done.returncode == 0, done.stdout, complaint[0] if complaint else f"exit {done.returncode}"
