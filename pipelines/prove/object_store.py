"""A real object store for a proof: one that the user names, or SeaweedFS on loopback, which can be killed as well."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from pipelines.contracts import EvergreenError
from pipelines.places import is_address
from pipelines.prove.servers import terminable

OURS = "s3"
"""Asked for by this name, a SeaweedFS is started."""
BUCKET = "evergreen"
LONGEST_START = 60.0


@dataclass
class Store:
    """`address` is where it keeps files; only one of our own can be killed."""

    address: str
    process: "subprocess.Popen[bytes] | None" = None
    command: list[str] = field(default_factory=list)
    port: int = 0
    environment: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Until it answers; what was written before is there again."""
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        until = time.monotonic() + LONGEST_START
        while not _answers(self.port):
            if time.monotonic() > until or self.process.poll() is not None:
                raise EvergreenError(f"SeaweedFS does not answer: {' '.join(self.command)}")
            time.sleep(0.1)

    def kill(self) -> None:
        """As by a power cut, without a word to anybody."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@contextmanager
def opened(asked: str | None, folder: Path) -> Iterator[Store | None]:
    """The store that was asked for: none, `s3`, or a place such as s3://bucket/prefix, a part of which is its."""
    if asked is None:
        yield None
    elif asked == OURS:
        with _seaweedfs(folder / "objects") as store:
            yield store
    elif is_address(asked):
        yield Store(f"{asked.rstrip('/')}/{uuid4().hex}")
    else:
        raise EvergreenError(f"{asked!r} is no store; name {OURS}, or an address such as s3://bucket/prefix")


@contextmanager
def _seaweedfs(folder: Path) -> Iterator[Store]:
    weed = shutil.which("weed") or shutil.which("weed", path=str(Path(sys.executable).parent))
    if weed is None:
        raise EvergreenError(
            "there is no SeaweedFS here; `make objects` installs it, or name your own: --store s3://BUCKET/PREFIX"
        )
    key, secret = secrets.token_hex(8), secrets.token_hex(16)
    store = _configured(weed, folder, key, secret)
    store.environment |= {
        "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{store.port}",
    }  # fmt: skip
    os.environ.update(store.environment)
    try:
        with terminable():
            store.start()
            _bucket(weed, store)
            yield store
    finally:
        store.kill()


def _configured(weed: str, folder: Path, key: str, secret: str) -> Store:
    """Its data below the folder, its doors on loopback, and one login in a file that its owner alone reads."""
    (folder / "data").mkdir(parents=True)
    login = {"accessKey": key, "secretKey": secret}
    who = {"identities": [{"name": "proof", "actions": ["Admin"], "credentials": [login]}]}
    config = folder / "s3.json"
    config.touch(mode=0o600)
    config.write_text(json.dumps(who))
    master, volume, filer, port = _ports(4)
    command = [
        weed, "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-master.port={master}",
        f"-volume.port={volume}", f"-filer.port={filer}", "-master.volumePreallocate=false", "-volume.max=20",
        "-s3", f"-s3.port={port}", f"-s3.config={config}", "-s3.port.iceberg=0", "-s3.port.lance=0",
    ]  # fmt: skip
    return Store(f"s3://{BUCKET}", None, command, port)


def _ports(count: int) -> list[int]:
    """Free ports of loopback, whose gRPC partners 10,000 above are ports as well."""
    found: list[int] = []
    while len(found) < count:
        port = 20_000 + secrets.randbelow(20_000)
        if port not in found and all(_free(each) for each in (port, port + 10_000)):
            found.append(port)
    return found


def _free(port: int) -> bool:
    with socket.socket() as door:
        try:
            door.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _bucket(weed: str, store: Store) -> None:
    """Makes the bucket through the store's own shell."""
    master = next(each for each in store.command if each.startswith("-master.port=")).partition("=")[2]
    words = [weed, "shell", f"-master=127.0.0.1:{master}"]
    said = f"s3.bucket.create -name {BUCKET}\n".encode()
    done = subprocess.run(words, input=said, capture_output=True, timeout=LONGEST_START, check=False)
    if done.returncode:
        raise EvergreenError(f"SeaweedFS makes no bucket: {done.stderr.decode(errors='replace')[-300:]}")


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
