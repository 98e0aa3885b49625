"""A warm server of probes: found by what it is, alone with its user, and gone when nobody needs it.

Its libraries are stand-ins that are there at once: "reading the questions" runs them as Python.
"""

import json
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from pipelines.contracts import Decision
from pipelines.gate import probes, surroundings
from pipelines.gate.probes import Asking
from pipelines.gate.rules import serving
from pipelines.processes import born
from pipelines.settings import PROJECT, Settings
from pipelines.stores.tracking.registry import Version
from tests.training_sets import spec

STANDINS = {
    "pandas.py": "def read_parquet(path):\n    exec(open(path).read(), {})\n    raise SystemExit(0)\n",
    "pyarrow/__init__.py": "",
    "pyarrow/parquet.py": "",
    "skops/__init__.py": "",
    "skops/io.py": "",
    "sklearn/__init__.py": "",
    "sklearn/pipeline.py": "",
    "threadpoolctl.py": "",
}
SOON = 90.0
Ask = Callable[..., Asking]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("standins")
    for name, text in STANDINS.items():
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text(text)
    return home


@pytest.fixture(scope="module")
def private() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ev", dir="/tmp"))
    yield folder
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    probes.end()
    tempfile.tempdir = before
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def surrounded(libraries: Path, private: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(libraries))
    monkeypatch.setattr(tempfile, "tempdir", str(private))


@pytest.fixture
def case() -> SimpleNamespace:
    version = Version("flight_delays", 1, "r", "d", datetime(2013, 1, 1, tzinfo=UTC), "s", {})
    stores = SimpleNamespace(settings=Settings(_env_file=None, audit_key="hunter2-given"))  # type: ignore[call-arg]
    return SimpleNamespace(
        spec=spec(), version=version, stores=stores, probe=None, held=pd.DataFrame({"a": [1.0]})
    )


@pytest.fixture
def ask(case: SimpleNamespace, tmp_path: Path) -> Iterator[Ask]:
    """A probe that does as it is told, and says it in tmp_path / log."""
    opened = []

    def asked(deed: str, seconds: float = SOON) -> Asking:
        number = len(opened) // 2
        questions, log = tmp_path / f"deed{number}.py", (tmp_path / f"log{number}").open("wb")
        questions.write_text(deed)
        words = ["flight_delays", "1", str(questions), str(tmp_path / "out.json"), "--given"]
        asking = Asking(words, serving._given(case), log.fileno(), seconds)
        opened.extend([asking, log])
        return asking

    yield asked
    for each in opened:
        each.__exit__(None, None, None)


def server() -> int:
    """The pid of the server that fits."""
    found = probes._connected(surroundings.address())
    assert found
    with closing(found):
        told = found.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", told)[0])


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def hanging(ask: Ask, folder: Path, more: str = "") -> tuple[Asking, int]:
    """A probe that waits for ever, and its pid."""
    told = folder / "pid"
    told.unlink(missing_ok=True)
    asking = ask(
        f"{more}\nimport os, time\nopen({str(told)!r} + 'x', 'w').write(str(os.getpid()))\n"
        f"os.rename({str(told)!r} + 'x', {str(told)!r})\ntime.sleep(3600)"
    )
    asking._answered()
    until(told.exists)
    return asking, int(told.read_text())


def test_libraries_are_imported_once_and_every_probe_is_a_new_process_of_the_same_server(
    ask: Ask, tmp_path: Path
) -> None:
    pids = [tmp_path / "a", tmp_path / "b"]
    servers = []
    for told in pids:
        deed = (
            f"import os; open({str(told)!r}, 'w').write(f'{{os.getpid()}} {{os.getppid()}} {{os.getsid(0)}}')"
        )
        assert ask(deed).code() == 0
        servers.append(server())
    (a, parent, session), (b, other, _) = (told.read_text().split() for told in pids)
    assert a != b
    assert a == session
    assert {int(parent), int(other)} == set(servers)
    assert (Path(f"/proc/{servers[0]}/task/{servers[0]}/children")).read_text() == ""


@pytest.mark.parametrize("code", [0, 1, 7])
def test_the_exit_code_is_that_of_the_probe(ask: Ask, code: int) -> None:
    assert ask(f"raise SystemExit({code})").code() == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT, signal.SIGALRM, signal.SIGTERM])
def test_a_signal_that_ends_the_probe_is_told(ask: Ask, number: signal.Signals) -> None:
    assert ask(f"import os; os.kill(os.getpid(), {int(number)})").code() == -number


def test_a_probe_begins_as_a_process_of_its_own_would(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_ODD", "w\u00f6rd")
    saying = """
        import json, os, random, signal, sys, tempfile
        print("loud"); print("louder", file=sys.stderr)
        print(json.dumps({
            "environ": dict(os.environ), "folder": os.getcwd(), "words": sys.argv, "rest": sys.stdin.read(),
            "models": [n for n in sys.modules if n.startswith("pipelines.models.")], "mlflow": "mlflow" in sys.modules,
            "handled": signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL,
            "files": [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if n != "3"],
        }))
    """
    import textwrap

    assert ask(textwrap.dedent(saying)).code() == 0
    lines = (tmp_path / "log0").read_text().splitlines()
    assert {"loud", "louder"} <= set(lines)
    said = json.loads(next(line for line in lines if line.startswith("{")))
    assert said["environ"]["EVERGREEN_ODD"] == "w\u00f6rd"
    assert "JE_ARROW_MALLOC_CONF" not in said["environ"]
    assert said["folder"] == str(PROJECT)
    assert said["words"][-1] == "--given"
    assert said["rest"] == ""
    assert (said["models"], said["mlflow"], said["handled"]) == ([], False, True)
    assert [name for name in said["files"] if name.startswith(("socket:", "anon_inode:"))] == []


def test_each_probe_draws_other_numbers(ask: Ask, tmp_path: Path) -> None:
    deed = "import random; import numpy as np; print(np.random.rand(), random.random())"
    assert [ask(deed).code(), ask(deed).code()] == [0, 0]
    drawn = [(tmp_path / name).read_text().split() for name in ("log0", "log1")]
    assert len({*drawn[0], *drawn[1]}) == 4


def test_two_probes_run_at_the_same_time(ask: Ask, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    meeting = "import os, time\nopen({!r}, 'w').close()\nwhile not os.path.exists({!r}): time.sleep(0.01)"
    one = ask(meeting.format(str(first), str(second)))
    two = ask(meeting.format(str(second), str(first)))
    assert (one.code(), two.code()) == (0, 0)


def test_a_probe_that_takes_too_long_is_ended_with_all_that_it_started(ask: Ask, tmp_path: Path) -> None:
    child = tmp_path / "child"
    deed = (
        "import os, time\npid = os.fork()\n"
        f"if pid: open({str(child)!r}, 'w').write(str(pid))\n"
        "while True: time.sleep(1)"
    )
    ask("").code()  # a server is there
    assert ask(deed, seconds=5.0).code() == -signal.SIGKILL
    started = int(child.read_text())
    until(lambda: born(started) is None)


def test_what_a_probe_leaves_behind_is_ended_with_it(ask: Ask, tmp_path: Path) -> None:
    child = tmp_path / "child"
    deed = (
        "import os, time\npid = os.fork()\n"
        f"if pid: open({str(child)!r}, 'w').write(str(pid))\n"
        "else: time.sleep(3600)"
    )
    assert ask(deed).code() == 0
    started = int(child.read_text())
    until(lambda: born(started) is None)


def test_who_leaves_ends_the_probe(ask: Ask, tmp_path: Path) -> None:
    asking, pid = hanging(ask, tmp_path)
    asking.__exit__(None, None, None)
    until(lambda: born(pid) is None)
    assert ask("").code() == 0


def test_who_is_killed_while_asking_leaves_no_probe_behind(
    ask: Ask, case: SimpleNamespace, tmp_path: Path
) -> None:
    ask("").code()
    told = tmp_path / "pid"
    questions = tmp_path / "deed.py"
    questions.write_text(
        f"import os, time\nopen({str(told)!r}, 'w').write(str(os.getpid()) + '.')\ntime.sleep(3600)"
    )
    words = ["flight_delays", "1", str(questions), str(tmp_path / "out.json"), "--given"]
    program = (
        "import os, sys, tempfile\nfrom pipelines.gate.probes import Asking\n"
        f"tempfile.tempdir, os.environ['PYTHONPATH'] = {tempfile.tempdir!r}, {os.environ['PYTHONPATH']!r}\n"
        f"Asking({words!r}, sys.stdin.read(), 1, 600.0).code()"
    )
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    asker = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, cwd=PROJECT, env=plain)
    assert asker.stdin
    asker.stdin.write(serving._given(case).encode())
    asker.stdin.close()
    until(lambda: told.exists() and told.read_text().endswith("."))
    asker.kill()
    asker.wait()
    until(lambda: born(int(told.read_text()[:-1])) is None)


def test_a_server_that_was_killed_is_replaced(ask: Ask) -> None:
    assert ask("").code() == 0
    before = server()
    os.kill(before, signal.SIGKILL)
    assert ask("").code() == 0
    assert server() != before


def test_a_server_that_does_not_answer_is_replaced(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask("").code() == 0
    before = server()
    os.kill(before, signal.SIGSTOP)
    monkeypatch.setattr(probes, "PROMPT", 3.0)
    asking = ask("")
    try:
        assert asking.code() == 0
    finally:
        os.kill(before, signal.SIGCONT)
    until(lambda: born(before) is None)


def test_a_probe_whose_server_is_killed_was_killed(ask: Ask, tmp_path: Path) -> None:
    asking, pid = hanging(ask, tmp_path)
    os.kill(server(), signal.SIGKILL)
    assert asking.code() == -signal.SIGKILL
    until(lambda: born(pid) is None)


def test_many_who_begin_at_once_share_one_server(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    deed = "import os; print(os.getppid())"
    askings = [ask(deed) for _ in range(4)]
    codes: list[int] = []
    threads = [threading.Thread(target=lambda a=a: codes.append(a.code())) for a in askings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0, 0, 0, 0]
    assert len({(tmp_path / f"log{number}").read_text() for number in range(4)}) == 1


def test_of_many_servers_two_stay(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    pids = []
    for number in ("3", "4", "5"):
        monkeypatch.setenv("OMP_NUM_THREADS", number)
        assert ask("").code() == 0
        pids.append(server())
    assert len(set(pids)) == 3
    until(lambda: born(pids[0]) is None)
    assert [born(pid) is None for pid in pids[1:]] == [False, False]


OTHERWISE: dict[str, Callable[[pytest.MonkeyPatch, Path], object]] = {
    "code": lambda patch, house: (house / "pipelines" / "a.py").write_text("x = 1"),
    "new code": lambda patch, house: (house / "pipelines" / "b.py").write_text(""),
    "less code": lambda patch, house: (house / "pipelines" / "a.py").unlink(),
    "path": lambda patch, house: patch.setenv("PYTHONPATH", str(house)),
    "what is on the path": lambda patch, house: (house / "sitecustomize.py").write_text(""),
    "threads": lambda patch, house: patch.setenv("OMP_NUM_THREADS", "7"),
    "BLAS": lambda patch, house: patch.setenv("OPENBLAS_CORETYPE", "another"),
    "hashes": lambda patch, house: patch.setenv("PYTHONHASHSEED", "1"),
    "Python": lambda patch, house: patch.setattr(sys, "executable", "/usr/bin/python3"),
    "limits": lambda patch, house: patch.setattr(resource, "getrlimit", lambda which: (1, 1)),
    "processors": lambda patch, house: patch.setattr(surroundings, "processors", lambda: [0]),
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_other_surroundings_have_another_server(
    what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    house = tmp_path / "house"
    (house / "pipelines").mkdir(parents=True)
    (house / "pipelines" / "a.py").write_text("")
    monkeypatch.setattr(surroundings, "PROJECT", house)
    before = surroundings.address()
    assert surroundings.address() == before
    OTHERWISE[what](monkeypatch, house)
    assert surroundings.address() != before


@pytest.mark.parametrize(
    "name", ["EVERGREEN_AUDIT_KEY", "AWS_SECRET_ACCESS_KEY", "AIRFLOW_CTX_TRY_NUMBER", "COLUMNS"]
)
def test_what_nobody_reads_while_importing_needs_no_other_server(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = surroundings.address()
    monkeypatch.setenv(name, "another")
    assert surroundings.address() == before


def test_no_secret_is_in_what_others_can_read_of_the_server(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "9")
    monkeypatch.setenv("EVERGREEN_AUDIT_KEY", "hunter2-set")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2-key")
    _, child = hanging(ask, tmp_path)
    for pid in (server(), child):
        read = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
        assert b"pipelines.serving.probing.warm" in read
        assert b"OMP_NUM_THREADS" in read
        assert b"hunter2" not in read
        assert b"EVERGREEN" not in read
    folder = surroundings.address().parent
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path for path in folder.iterdir() if path.is_file() and path.stat().st_size] == []


def test_the_server_has_no_thread_but_its_own(ask: Ask) -> None:
    assert ask("").code() == 0
    assert len(os.listdir(f"/proc/{server()}/task")) == 1


def _open_to_all(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)


def _link(folder: Path) -> None:
    (folder.parent / "mine").mkdir(mode=0o700)
    folder.symlink_to(folder.parent / "mine")


def _another_users(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    if os.geteuid():
        pytest.skip("only root can give a folder away")
    os.chown(folder, 12345, 12345)


@pytest.mark.parametrize("made", [_open_to_all, _link, _another_users, lambda folder: folder.write_text("")])
def test_a_folder_in_which_others_have_a_say_is_refused(
    made: Callable[[Path], None], ask: Ask, case: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        made(Path(folder) / f"evergreen-{os.geteuid()}")
        with pytest.raises(OSError, match="this user's alone"):
            ask("").code()
        (rule,) = serving.check(case)
    assert rule.decision is Decision.INCONCLUSIVE
    assert rule.explanation.startswith("the probe could not be started: ")


@pytest.mark.parametrize(
    ("program", "said"), [("exit 3", "ended"), ("echo no library >&2; exit 1", "no library")]
)
def test_where_no_server_can_be_started_nobody_can_tell(
    program: str, said: str, case: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "python"
    broken.write_text(f"#!/bin/sh\n{program}\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    (rule,) = serving.check(case)
    assert rule.decision is Decision.INCONCLUSIVE
    assert said in rule.explanation


def test_a_long_name_of_the_temporary_folder_is_no_obstacle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert len(os.fsencode(surroundings.address())) < 104


def _alone(path: Path, idle: float) -> None:
    """A server that nobody has asked, and that listens."""
    subprocess.run(
        [sys.executable, "-m", "pipelines.serving.probing.warm", str(path), str(idle)],
        cwd=PROJECT, env=surroundings.environment(), check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    until(path.exists)


def test_an_idle_server_ends_and_takes_its_socket_along(private: Path) -> None:
    path = surroundings.address().with_name("idle.sock")
    _alone(path, 0.1)
    until(lambda: not path.exists())


def test_a_server_whose_socket_is_gone_ends(ask: Ask) -> None:
    assert ask("").code() == 0
    pid = server()
    surroundings.address().unlink()
    until(lambda: born(pid) is None)


def test_stopping_ends_idle_servers_and_lets_those_that_answer_finish(ask: Ask, tmp_path: Path) -> None:
    assert ask("").code() == 0
    pid = server()
    probes.end()
    until(lambda: born(pid) is None)
    asking, child = hanging(ask, tmp_path)
    pid = server()
    probes.end()
    assert born(child) is not None
    asking.__exit__(None, None, None)
    until(lambda: born(pid) is None)
