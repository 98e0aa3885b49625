"""What docker-compose.yml runs, installed from the locks into an environment of its own, as the image has it."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from pipelines.settings import PROJECT


def install(folder: Path, *locks: str) -> Path:
    """The folder of the commands that these locks bring; `folder` is made anew."""
    uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
    subprocess.run([uv, "venv", "-q", "--clear", "-p", sys.executable, folder], check=True)
    files = [PROJECT / "locks" / name for name in locks]
    command = [uv, "pip", "sync", "-q", "--require-hashes", "--python", folder / "bin" / "python", *files]
    subprocess.run(command, check=True)
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
