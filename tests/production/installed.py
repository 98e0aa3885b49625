"""What docker-compose.yml runs, installed from the locks into an environment of its own, as the image has it."""

import shutil
import sysconfig
from pathlib import Path

from tests.locked import installed


def install(folder: Path, *locks: str) -> Path:
    """The folder of the commands that these locks bring; `folder` is made anew."""
    installed(folder, *locks)
    _with_bytecode(next(folder.glob("lib/python*/site-packages")))
    return folder / "bin"


def _with_bytecode(packages: Path) -> None:
    """What this environment has compiled need not be compiled again; Python takes it for the very same file only."""
    here = Path(sysconfig.get_path("purelib"))
    for path in here.rglob("*.pyc"):
        there = packages / path.relative_to(here)
        if there.parent.parent.is_dir():
            there.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, there)
