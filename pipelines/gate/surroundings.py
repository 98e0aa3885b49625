"""What decides what a process started here would be: program, libraries, code, environment, limits, namespaces.

Two processes with the same surroundings may share one that is kept warm; a digest tells the others apart.
"""

import hashlib
import json
import os
import resource
import socket
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipelines.processes import private, processors
from pipelines.settings import PROJECT

NEEDED = ("HOME", "LANG", "LANGUAGE", "PATH", "TMPDIR", "TZ", "GLIBC_TUNABLES")
READ_ONCE = (
    "ARROW_", "BLIS_", "DYLD_", "GOMP_", "GOTO_", "KMP_", "LC_", "LD_", "MALLOC_", "MKL_", "NPY_", "NUMEXPR_",
    "NUMPY_", "OMP_", "OPENBLAS_", "PANDAS_", "PYTHON", "SCIPY_", "SKLEARN_", "SKOPS_", "VECLIB_",
)  # fmt: skip
"""Libraries and the loader read these when they are loaded, and never again."""
INSTALLED = (".py", ".pth", ".so", ".dist-info")
LONGEST = 60
"""A socket's path has at most 103 bytes on every system; its name takes up to 42, with the slash."""


def address() -> Path:
    """The socket of the one server that fits."""
    return _folder() / f"{_project()}-{digest()}.sock"


def ours() -> list[Path]:
    """The sockets of all servers of this project's code."""
    return sorted(_folder().glob(f"{_project()}-*.sock"))


def digest() -> str:
    """Equal exactly where a process started now would be the same in all that is known beforehand."""
    known = [sys.executable, sys.version, environment(), list(_files()), _inherited()]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:24]


def environment() -> dict[str, str]:
    """What Python and the libraries need of the environment, and no secret; ours is the code they find."""
    path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    kept = {name: value for name, value in os.environ.items() if name in NEEDED or name.startswith(READ_ONCE)}
    return kept | {"PYTHONPATH": path, "OMP_WAIT_POLICY": "PASSIVE"}


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"evergreen-{os.geteuid()}"
    if len(os.fsencode(folder)) > LONGEST:
        folder = Path("/tmp") / folder.name  # noqa: S108 - refused unless it is this user's alone
    return private(folder)


def _project() -> str:
    return hashlib.sha256(os.fsencode(PROJECT)).hexdigest()[:8]


def _files() -> Iterator[tuple[Any, ...]]:
    """Every file of our code, and on the path what was installed when; deeper there, the version has to do."""
    yield _known(sys.executable)
    for folder, folders, names in os.walk(PROJECT / "pipelines"):
        folders[:] = sorted(set(folders) - {"__pycache__"})
        yield from (_known(os.path.join(folder, name)) for name in sorted(names) if name.endswith(".py"))
    places = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    for place in [*places, *environment()["PYTHONPATH"].split(os.pathsep)]:
        with suppress(OSError):
            names = sorted(name for name in os.listdir(place or ".") if name.endswith(INSTALLED))
            yield from (_known(os.path.join(place, name)) for name in names)


def _known(path: str) -> tuple[Any, ...]:
    try:
        known = os.stat(path)
    except OSError:
        return (path,)
    return path, known.st_size, known.st_mtime_ns


def _inherited() -> list[Any]:
    """What a child has from its parent: limits, priority, processors, groups, and where it stands."""
    limits = [
        resource.getrlimit(getattr(resource, n)) for n in sorted(dir(resource)) if n.startswith("RLIMIT_")
    ]
    groups = [os.getegid(), *sorted(os.getgroups())]
    return [
        socket.gethostname(),
        limits,
        os.getpriority(os.PRIO_PROCESS, 0),
        processors(),
        groups,
        _standing(),
    ]


def _standing() -> list[str]:
    """The namespaces, control group and file mask of this process, where there is /proc."""
    own = Path("/proc/self")
    found = []
    with suppress(OSError):
        kinds = [p for p in sorted((own / "ns").iterdir()) if not p.name.endswith("_for_children")]
        found = [os.readlink(kind) for kind in kinds] + [(own / "cgroup").read_text()]
        found += [line for line in (own / "status").read_text().splitlines() if line.startswith("Umask:")]
    return found
