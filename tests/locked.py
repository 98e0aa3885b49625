"""Environments of a lock of their own, beside the one that the tests run in."""

import shutil
import subprocess
import sys
from pathlib import Path

from pipelines.settings import PROJECT


def installed(folder: Path, *locks: str) -> None:
    """What these locks of `locks/` pin, in an environment in the folder, which is made anew."""
    uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
    subprocess.run([uv, "venv", "-q", "--clear", "-p", sys.executable, folder], check=True)
    files = [PROJECT / "locks" / name for name in locks]
    command = [uv, "pip", "sync", "-q", "--require-hashes", "--python", folder / "bin" / "python", *files]
    subprocess.run(command, check=True)
