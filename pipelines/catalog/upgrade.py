"""Spec files of an older form, written in today's: comments and order stay."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher, unified_diff
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pipelines.catalog import explained, parsed
from pipelines.catalog.dataset_spec import DatasetSpec
from pipelines.catalog.formats import MIGRATIONS, format_of, newest, reasons, refusal
from pipelines.catalog.model_spec import FORMAT_LINE, HERE, ModelSpec
from pipelines.catalog.types import File
from pipelines.contracts import EvergreenError
from pipelines.places import whole

WIDTH = 10_000
"""Longer than any line: none is folded."""


@dataclass(frozen=True)
class Upgrade:
    """What becomes of one file: its text before and after, the migrations' reasons, and what a person must mend yet."""

    path: Path
    before: str
    after: str
    formats: tuple[int, int]
    reasons: list[str]
    faults: str | None

    @property
    def difference(self) -> str:
        """As a unified diff."""
        name = (
            self.path.relative_to(HERE.parent).as_posix()
            if self.path.is_relative_to(HERE)
            else self.path.name
        )
        before, after = (text.splitlines(keepends=True) for text in (self.before, self.after))
        return "".join(unified_diff(before, after, name, name))

    def write(self) -> None:
        """The file in today's form; EvergreenError if a person must mend something first."""
        if self.faults:
            raise EvergreenError(f"{self.path} was not written, as it would not be sound: {self.faults}")
        with whole(self.path) as part:
            part.write_text(self.after, encoding="utf-8", newline="")


def found(name: str | None, folder: Path = HERE) -> tuple[list[Upgrade], list[str]]:
    """Every file of an older form, of one model or dataset or of all; and what is wrong with those nobody can read."""
    files = [(path, kind) for path, own, kind in _files(folder) if name in (None, own)]
    if not files:
        raise EvergreenError(
            f"no model and no dataset is named {name!r}; `evergreen check` tells which there are"
        )
    made, troubles = list[Upgrade](), list[str]()
    for path, kind in files:
        try:
            made.append(upgrade(path, kind))
        except (EvergreenError, UnicodeDecodeError) as error:
            troubles.append(str(error) if isinstance(error, EvergreenError) else f"{path}: it is not UTF-8")
    return [each for each in made if each.before != each.after], troubles


def _files(folder: Path) -> Iterator[tuple[Path, str, type[File]]]:
    for path in sorted((folder / "datasets").glob("*.yaml")):
        yield path, path.stem, DatasetSpec
    for path in sorted((folder / "models").glob("*/spec.yaml")):
        yield path, path.parent.name, ModelSpec


def upgrade(path: Path, kind: type[File]) -> Upgrade:
    """What today's form of a file is."""
    with path.open(encoding="utf-8", newline="") as file:
        text = file.read()
    try:
        given = parsed(text)
    except yaml.YAMLError as error:
        raise EvergreenError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(given, dict):
        raise EvergreenError(f"{path}: it is no mapping of keys to values; write it as the reference shows")
    said, known = format_of(given), newest(kind)
    if said > known:
        raise EvergreenError(f"{path}: {refusal(given, kind, path.stem)}")
    after = text if said == known else _stamped(_migrated(text, given, kind), known)
    return Upgrade(path, text, after, (said, known), reasons(given, kind), _faults(path, after, kind))


def _faults(path: Path, text: str, kind: type[File]) -> str | None:
    try:
        kind.model_validate(parsed(text))
    except ValidationError as error:
        return explained(path, text, error)
    return None


def _migrated(text: str, given: dict[str, Any], kind: type[File]) -> str:
    """The text after each migration; word for word the same where none changes anything."""
    if not reasons(given, kind):
        return text
    if "\r\n" in text:  # ruamel writes a second \r after a comment
        return _migrated(text.replace("\r\n", "\n"), given, kind).replace("\n", "\r\n")
    document, write = _editable(text)
    plain = write(document)
    for migration in MIGRATIONS[kind][format_of(given) - 1 :]:
        migration(document)
    return _only_what_changed(text, plain, write(document))


def _editable(text: str) -> Any:
    """The document with its comments, and how to write it as it was written."""
    from ruamel.yaml import YAML
    from ruamel.yaml.util import load_yaml_guess_indent

    _, indent, offset = load_yaml_guess_indent(text)
    kept = YAML()
    kept.preserve_quotes, kept.width = True, WIDTH  # type: ignore[assignment]
    kept.indent(mapping=2, sequence=indent or 2, offset=offset or 0)

    def write(document: Any) -> str:
        stream = io.StringIO()
        kept.dump(document, stream)
        return stream.getvalue()

    return kept.load(text), write


def _only_what_changed(text: str, plain: str, changed: str) -> str:
    """The text with the lines that a migration changed; what writing alone would change stays as people wrote it."""
    own, old, new = (each.splitlines(keepends=True) for each in (text, plain, changed))
    if len(own) != len(old):
        return changed
    lines = list[str]()
    for tag, start, end, first, last in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        lines += own[start:end] if tag == "equal" else new[first:last]
    return "".join(lines)


def _stamped(text: str, number: int) -> str:
    """The text with its format in the first line that is not a comment."""
    line = f"format: {number}"
    if FORMAT_LINE.search(text.encode()):
        return FORMAT_LINE.sub(lambda old: line.encode() + old[2] + old[3], text.encode(), count=1).decode()
    start = yaml.compose(text).start_mark.index  # type: ignore[union-attr]
    end = "\r\n" if "\r\n" in text else "\n"
    return f"{text[:start]}{line}{end}{text[start:]}"
