"""The two sides of a change: the files that decide about models, as bytes by their path. Nothing of them is run."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import ValidationError

from pipelines.catalog import DatasetSpec, ModelSpec, parsed
from pipelines.catalog.model_spec import LEAVINGS
from pipelines.review.changes import git
from pipelines.review.changes.views import View, views_of

MODELS, DATASETS, VIEWS, SUITES = "pipelines/models", "pipelines/datasets", "feature_repo", "expectations"
FOLDERS = (MODELS, DATASETS, VIEWS, SUITES)
SPEC = TypeVar("SPEC", ModelSpec, DatasetSpec)


@dataclass(frozen=True)
class Written(Generic[SPEC]):
    """A spec as its file has it; `typed` is None, and `fault` says why, where today's code does not take it."""

    raw: Mapping[str, Any]
    typed: SPEC | None
    fault: str = ""

    @property
    def plain(self) -> dict[str, Any]:
        """With every default written out where it is sound."""
        return dict(self.raw) if self.typed is None else self.typed.model_dump(by_alias=True)


def alike(before: Written[SPEC], after: Written[SPEC]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two specs in one form: with defaults where both are sound, else both as they are written."""
    if before.typed is not None and after.typed is not None:
        return before.plain, after.plain
    return dict(before.raw), dict(after.raw)


@dataclass(frozen=True)
class Side:
    """One side's files by path from the project's folder."""

    name: str
    files: Mapping[str, bytes]

    def text(self, path: str) -> str | None:
        """A file's text, lines ended by \\n; None if it is not there."""
        found = self.files.get(path)
        return None if found is None else found.decode("utf-8", "replace").replace("\r\n", "\n")

    @cached_property
    def models(self) -> dict[str, Written[ModelSpec]]:
        ends = "/spec.yaml"
        names = [p.removeprefix(f"{MODELS}/").removesuffix(ends) for p in self._below(MODELS, ends)]
        return {n: self._spec(f"{MODELS}/{n}{ends}", ModelSpec) for n in names if "/" not in n}

    @cached_property
    def datasets(self) -> dict[str, Written[DatasetSpec]]:
        paths = self._below(DATASETS, ".yaml")
        return {Path(path).stem: self._spec(path, DatasetSpec) for path in paths}

    @cached_property
    def views(self) -> dict[str, View]:
        """Every feature view, read from its source."""
        return views_of({Path(p).stem: self.text(p) or "" for p in self._below(VIEWS, ".py")}, self._sql)

    @property
    def _sql(self) -> dict[str, str]:
        return {Path(path).stem: self.text(path) or "" for path in self._below(VIEWS, ".sql")}

    def folder(self, model: str) -> dict[str, str]:
        """The files of a model's folder that are no editor's leavings, and its card."""
        start = f"{MODELS}/{model}/"
        names = [path.removeprefix(start) for path in self.files if path.startswith(start)]
        kept = [name for name in names if name == "CARD.md" or not LEAVINGS.search(name)]
        return {name: self.text(start + name) or "" for name in sorted(kept)}

    def _below(self, folder: str, ending: str) -> list[str]:
        return sorted(p for p in self.files if p.startswith(f"{folder}/") and p.endswith(ending))

    def _spec(self, path: str, kind: type[SPEC]) -> Written[SPEC]:
        try:
            raw = parsed(self.text(path) or "")
        except yaml.YAMLError as error:
            return Written({}, None, f"{path} is no YAML: {str(error).splitlines()[0]}")
        if not isinstance(raw, dict):
            return Written({}, None, f"{path} says nothing")
        try:
            return Written(raw, kind.model_validate(raw))
        except ValidationError as error:
            first = error.errors()[0]
            return Written(raw, None, f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}")


def at(revision: str, root: Path) -> Side:
    """The side of a commit, read by git."""
    return Side(revision, git.files_at(revision, FOLDERS, root))


def here(root: Path) -> Side:
    """The side of the work tree: committed or not, it is what would be merged."""
    found: dict[str, bytes] = {}
    for folder in FOLDERS:
        for place, folders, names in os.walk(root / folder):
            folders[:] = [each for each in folders if each != "__pycache__"]
            paths = [Path(place) / name for name in names]
            found |= {p.relative_to(root).as_posix(): p.read_bytes() for p in paths if _regular(p)}
    return Side("the work tree", found)


def _regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
