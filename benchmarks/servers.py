"""Servers in processes of their own, and connections to them that stay open."""

import asyncio
import json
import os
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from benchmarks.loop_sides import free_port
from pipelines.settings import PROJECT

START_SECONDS, PORT = 120.0, "PORT"


def checkout(commit: str, folder: Path) -> Path:
    """The files of a commit."""
    packed = subprocess.run(["git", "archive", commit], cwd=PROJECT, capture_output=True, check=False)
    if packed.returncode:
        raise SystemExit(f"{commit} is not in this clone; fetch its history, or name another with --base")
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@contextmanager
def started(
    command: list[str], folder: Path, home: Path, log: Path, path: str, workers: int = 1, wants: str = ""
) -> Iterator[int]:
    """The port of a server that answers at a path, where a JSON value is wanted with that value there.

    The port stands where its command has PORT, and in EVERGREEN_SERVING_PORT.
    """
    port = free_port()
    own = {"EVERGREEN_HOME": str(home), "EVERGREEN_SERVING_PORT": str(port), "PYTHONPATH": str(folder),
           "EVERGREEN_SERVING_WORKERS": str(workers), "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db",
           "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}  # fmt: skip
    words = [str(port) if word == PORT else word for word in command]
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, *words], cwd=folder, env={**os.environ, **own}, stdout=out, stderr=out
        )
    try:
        _ready(f"http://127.0.0.1:{port}{path}", wants, process, log)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _ready(url: str, wants: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2) as reply:  # noqa: S310 - our own servers
                if not wants or json.load(reply)[wants]:
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"{url} does not answer; the end of its log:\n{log.read_text()[-2000:]}")


@dataclass
class Connection:
    """One that stays open."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def to(cls, port: int) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def exchange(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to a POST."""
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        self.writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        told = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(told.split("content-length: ")[1].split("\r\n")[0])
        return int(told.split(" ")[1]), await self.reader.readexactly(length)

    async def post(self, path: str, body: bytes) -> dict[str, Any]:
        """The JSON object that a POST is answered with; anything but a 200 ends the benchmark."""
        status, said = await self.exchange(path, body)
        if status != 200:
            raise SystemExit(f"a question was not answered: {status} {said.decode()[:500]}")
        return dict(json.loads(said))

    def close(self) -> None:
        self.writer.close()


@dataclass
class One:
    """Asks one prediction API by our own route."""

    connection: Connection
    path: str

    async def ask(self, question: bytes) -> dict[str, Any]:
        return await self.connection.post(self.path, question)

    def close(self) -> None:
        self.connection.close()
