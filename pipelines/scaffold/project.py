"""A project beside this one: the same code and catalog in another folder, to write models into that nobody keeps."""

import shutil
from pathlib import Path

from pipelines.settings import PROJECT

FOLDERS = ("pipelines", "plugins", "dags", "feature_repo", "expectations", "locks")
LEAVINGS = shutil.ignore_patterns("__pycache__", "*.pyc")


def copied(folder: Path) -> Path:
    """The folder, with what a project is made of in it; commands run there with it first on PYTHONPATH."""
    for name in FOLDERS:
        shutil.copytree(PROJECT / name, folder / name, ignore=LEAVINGS)
    shutil.copy(PROJECT / "pyproject.toml", folder / "pyproject.toml")
    (folder / "tests").mkdir()
    for name in ("__init__.py", "conftest.py", "once.py"):
        shutil.copy(PROJECT / "tests" / name, folder / "tests" / name)
    return folder
