"""How tests ended the last time they were run here: pytest's cache has it, and the tests must still be there."""

import ast
import json
import re
from datetime import datetime
from functools import cached_property
from pathlib import Path

CACHE = Path(".pytest_cache") / "v" / "evergreen" / "outcomes"
"""tests/conftest.py keeps it: by node id whether the test passed, and when."""


class Outcomes:
    """The tests of one checkout. One that was deleted, renamed or failed the last time shows nothing."""

    def __init__(self, project: Path) -> None:
        self.project = project

    @cached_property
    def passed(self) -> dict[str, datetime]:
        """When each test that is still there passed, if it passed the last time."""
        try:
            said = json.loads((self.project / CACHE).read_text())
            found = {node: datetime.fromisoformat(at) for node, (good, at) in said.items() if good}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}
        return {node: at for node, at in found.items() if self.exists(node) and at.tzinfo}

    def exists(self, node: str) -> bool:
        """Whether a file of the checkout still defines the test."""
        path, _, name = node.partition("::")
        return name.partition("[")[0].rpartition("::")[2] in self._defined(path)

    def of(self, path: str) -> dict[str, datetime]:
        """The passed tests of a file, or of a folder."""
        return {node: at for node, at in self.passed.items() if node.startswith((f"{path}::", f"{path}/"))}

    def about(self, name: str, *folders: str) -> dict[str, datetime]:
        """The passed tests of the files below folders of these names that name a thing, it and not a longer name."""
        named = re.compile(rf"(?<![a-z0-9_]){re.escape(name)}(?!_?[a-z0-9])")
        files = {node.partition("::")[0] for node in self.passed}
        told = {f for f in files if {*f.split("/")[:-1]} & {*folders} and named.search(self._text(f))}
        return {node: at for node, at in self.passed.items() if node.partition("::")[0] in told}

    def _text(self, path: str) -> str:
        file = self.project / path
        return file.read_text(encoding="utf-8") if file.is_file() else ""

    def _defined(self, path: str) -> set[str]:
        if path not in self._known:
            try:
                tree = ast.parse(self._text(path))
            except (SyntaxError, ValueError):
                tree = ast.Module([], [])
            functions = (ast.FunctionDef, ast.AsyncFunctionDef)
            self._known[path] = {node.name for node in ast.walk(tree) if isinstance(node, functions)}
        return self._known[path]

    @cached_property
    def _known(self) -> dict[str, set[str]]:
        return {}
