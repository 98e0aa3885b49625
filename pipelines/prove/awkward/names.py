"""What must never be opened: things that are no files, and names that are no names of files of ours."""

import hashlib
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

from pipelines.contracts import Batch, BatchState, EvergreenError
from pipelines.ingestion.ingest import ingest
from pipelines.prove.awkward.bench import LONG_AGO, Bench, Case, is_in, must
from pipelines.prove.awkward.kernel import Watch, bound_by_modes
from pipelines.prove.awkward.sheets import Sheet
from pipelines.prove.awkward.waits import then_taken

PATHS = (
    b"@..%2f..%2fx.csv",
    b"@%2E%2E%2Fx.csv",
    b"@..%5cx.csv",
    b"@..\\x.csv",
    b"@%252e%252e%252fx.csv",
    b"@%00.csv",
)
CONTROLS = (
    b"@\x07.csv",
    b"@\x1b[31m.csv",
    b"@\r.csv",
    b"@\x7f.csv",
    "@\u0085.csv".encode(),
    "@\u202e.csv".encode(),
)


def _unopened(bench: Bench, sheet: Sheet, name: bytes, make: Callable[[Path], None]) -> None:
    """Promises that what `make` puts at the name is refused aloud and not opened, and a good file goes on."""
    path = Path(os.fsdecode(os.fsencode(bench.landing) + b"/" + name))
    make(path)
    watch = Watch(bench.landing)
    good = bench.name(sheet.spec)
    bench.land(good, bench.sheet(sheet.spec.name).content)
    watch.opened()
    results = {result.name for result in bench.take(sheet.spec)}
    must(name not in watch.opened(), f"{name!r} was opened")
    must(results == {good}, f"beside {name!r}, {sorted(results)} were taken")
    must(os.path.lexists(path), f"{name!r} was moved or removed")
    must(_alerted(bench, path.name), f"nobody was told of {name!r}: {bench.alerts.said}")
    batches = [batch.name for batch in bench.batches(sheet.spec) if is_in(batch)]
    must(path.name not in batches, f"{name!r} is in the ledger as taken")


def _alerted(bench: Bench, name: str) -> bool:
    """Whether a warning names the file, in whatever way it escapes what a terminal must not see."""
    ways = {repr(name)[1:-1], name.encode("utf-8", "backslashreplace").decode()}
    plain = {way.replace("\\", "") for way in ways}
    return any(way in said.replace("\\", "") for way in plain for said in bench.alerts.said)


def _kinds(expected: str, *makes: Callable[[Bench, Sheet, Path], None]) -> Callable[[Bench], str]:
    """A case of things under a good name that are no regular files."""

    def act(bench: Bench) -> str:
        for make in makes:
            sheet = bench.sheet()
            name = bench.name(sheet.spec, bench.dice.choice([".csv", ".csv.gz"])).encode()
            _unopened(bench, sheet, name, lambda path, m=make, s=sheet: m(bench, s, path))  # type: ignore[misc]
        return f"{expected} refused unopened, told, a good file beside it in"

    return act


def _link(bench: Bench, sheet: Sheet, path: Path) -> None:
    target = bench.stores.settings.home / f"elsewhere-{path.name}"
    target.write_bytes(sheet.content)
    path.symlink_to(target)


def _dangling(bench: Bench, sheet: Sheet, path: Path) -> None:
    path.symlink_to("nowhere.csv")


def _loop(bench: Bench, sheet: Sheet, path: Path) -> None:
    path.symlink_to(path.name)


def _fifo(bench: Bench, sheet: Sheet, path: Path) -> None:
    os.mkfifo(path)


def _device(bench: Bench, sheet: Sheet, path: Path) -> None:
    """A device file; the kernel lets everyone make the one that is no device at all."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(0, 0))


def _socket(bench: Bench, sheet: Sheet, path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")  # a path of its own would be too long
    os.close(folder)


def _folder(bench: Bench, sheet: Sheet, path: Path) -> None:
    path.mkdir()
    (path / path.name).write_bytes(sheet.content)


def _called(*names: bytes) -> Callable[[Bench], str]:
    """A case of good content under names that no file of ours has; @ stands for a good name's beginning."""

    def act(bench: Bench) -> str:
        for pattern in names:
            sheet = bench.sheet()
            name = pattern.replace(b"@", _stem(bench.name(sheet.spec)).encode())
            _unopened(bench, sheet, name, lambda path, s=sheet: _put(path, s.content))  # type: ignore[misc]
        return f"{len(names)} names refused unopened, told, such as {name!r}"

    return act


def _put(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    os.utime(path, (LONG_AGO, LONG_AGO))


def _handed(*makes: Callable[[Bench, str], str]) -> Callable[[Bench], str]:
    """A case of names that come from outside, as an event or a queue could hand them over."""

    def act(bench: Bench) -> str:
        for make in makes:
            sheet = bench.sheet()
            bench.specs[sheet.spec.name] = sheet.spec
            _hand_over(bench, sheet, make(bench, bench.name(sheet.spec)))
        return "refused unopened"

    return act


def _hand_over(bench: Bench, sheet: Sheet, name: str) -> None:
    """Promises that a batch of this name is not opened, not taken and leaves what it names alone."""
    outside, home = bench.stores.settings.home / "outside", bench.stores.settings.home
    outside.mkdir(exist_ok=True)
    target = outside / "secret.csv"
    _put(target, sheet.content)
    digest = hashlib.sha256(sheet.content).hexdigest()
    watch = Watch(outside, home)
    try:
        result = ingest(sheet.spec, Batch(digest, sheet.spec.name, name, len(sheet.content)), bench.stores)
        must(result.state is BatchState.REFUSED, f"{name!r} was taken: {result}")
    except EvergreenError:
        pass
    must(b"secret.csv" not in watch.opened(), f"{name!r} made it open a file outside the landing folder")
    must(target.exists(), f"{name!r} made it move a file outside the landing folder")


def _unreadable(bench: Bench) -> str:
    """A file we may not read."""
    sheet = bench.sheet()
    name, good = bench.name(sheet.spec), bench.name(sheet.spec)
    path = bench.land(name, sheet.content)
    bench.land(good, bench.sheet(sheet.spec.name).content)
    path.chmod(0)
    with bound_by_modes():
        results = {result.name for result in bench.take(sheet.spec)}
    must(results == {good}, f"beside an unreadable file, {sorted(results)} were taken")
    must(path.exists(), "the unreadable file was moved")
    must(_alerted(bench, name), "nobody was told of the unreadable file")
    path.chmod(0o600)
    os.utime(path, (LONG_AGO, LONG_AGO))
    then_taken(bench, sheet, name)
    return "refused, told, a good file beside it in; once readable, in"


def _relative(bench: Bench, name: str) -> str:
    return "../outside/secret.csv"


def _through(bench: Bench, name: str) -> str:
    return f"{name}/../../outside/secret.csv"


def _absolute(bench: Bench, name: str) -> str:
    return str(bench.stores.settings.home / "outside" / "secret.csv")


def _too_long(bench: Bench) -> str:
    """Longer names are refused; names of exactly 255 bytes are names like others."""
    told = _handed(_long, _longer, _far_too_long)(bench)
    for filler in ("x", "é"):
        sheet = bench.sheet()
        stem = _stem(bench.name(sheet.spec)) + "_"
        name = stem + filler * ((251 - len(stem)) // len(filler.encode())) + ".csv"
        bench.land(name, sheet.content)
        then_taken(bench, sheet, name)
    return f"{told}; at 255 bytes, in"


def _long(bench: Bench, name: str) -> str:
    return f"{_stem(name)}{'x' * 240}.csv"


def _longer(bench: Bench, name: str) -> str:
    return f"{_stem(name)}{'é' * 130}.csv"


def _far_too_long(bench: Bench, name: str) -> str:
    return f"{_stem(name)}{'x' * 5000}.csv"


def _stem(name: str) -> str:
    return name.removesuffix(".csv")


CASES = [
    Case("symlink", "REFUSE UNOPENED", _kinds("symlinks", _link, _dangling, _loop)),
    Case("FIFO", "REFUSE UNOPENED", _kinds("FIFOs", _fifo)),
    Case("device", "REFUSE UNOPENED", _kinds("devices", _device)),
    Case("socket", "REFUSE UNOPENED", _kinds("sockets", _socket)),
    Case("a directory named x.csv", "REFUSE UNOPENED", _kinds("directories", _folder)),
    Case("a path that leaves the landing folder", "REFUSE UNOPENED", _handed(_relative, _through, _absolute)),
    Case("a path that leaves the landing folder, encoded", "REFUSE UNOPENED", _called(*PATHS)),
    Case("control characters in the name", "REFUSE UNOPENED", _called(*CONTROLS)),
    Case("newline in the name", "REFUSE UNOPENED", _called(b"@\n.csv", b"@.csv\n", "@\u2028.csv".encode())),
    Case(
        "a name that is not UTF-8",
        "REFUSE UNOPENED",
        _called(b"@\xff.csv", b"@\xe9.csv", b"@\xed\xa0\x80.csv"),
    ),
    Case("a name over 255 bytes", "REFUSE UNOPENED", _too_long),
    Case("leading dash", "REFUSE UNOPENED", _called(b"-@.csv", b"--@.csv")),
    Case("unreadable file", "REFUSE UNOPENED", _unreadable),
]
