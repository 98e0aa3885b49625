"""Environments of a lock of their own, beside the one that the tests run in."""

import shutil
import subprocess
import sys
from pathlib import Path

from pipelines.settings import PROJECT


def installed(lock: str, folder: Path) -> None:
    """What a lock of `locks/` pins, in a new environment in the folder."""
    uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
    subprocess.run([uv, "venv", "-q", "--clear", "-p", sys.executable, folder], check=True)
    file = PROJECT / "locks" / lock
    command = [uv, "pip", "sync", "-q", "--require-hashes", "--python", folder / "bin" / "python", file]
    subprocess.run(command, check=True)
