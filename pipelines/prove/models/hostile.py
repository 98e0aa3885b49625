"""Model files made to be refused: each would make its canary file, or answer what no honest model answers."""

import gzip
import io
import json
import operator
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

PROTOCOL = 2
ELSEWHERE = "planted_elsewhere"
"""A module outside the project that makes its canary when it is imported; it names a class as an estimator.py does."""


@dataclass(frozen=True)
class File:
    """A hostile model file; `live`: read the naive way it does its harm, which the proof tries.

    What takes long to make is made when its bytes are asked for.
    """

    kind: str
    name: str
    made: bytes | Callable[[], bytes]
    live: bool = False

    @property
    def data(self) -> bytes:
        """The file's bytes."""
        return self.made if isinstance(self.made, bytes) else self.made()


class Payload:
    """What a pickle runs when it is read."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def files(canary: Path, honest: bytes) -> Iterator[File]:
    """Every hostile file there is; `honest` is a real model's."""
    yield from _pickles(canary)
    yield from _types(canary)
    yield from _schemas(canary)
    yield from _archives(canary, honest)


def _toucher(canary: Path) -> Callable[[], int]:
    command = f"touch {canary}"
    return lambda: __import__("os").system(command)


def plant_elsewhere(folder: Path, canary: Path) -> None:
    """The module of which one hostile file speaks."""
    folder.mkdir(parents=True, exist_ok=True)
    text = f"open({str(canary)!r}, 'w').close()\nclass Timetable:\n    pass\n"
    (folder / f"{ELSEWHERE}.py").write_text(text)


def _pickles(canary: Path) -> Iterator[File]:
    import cloudpickle  # type: ignore[import-untyped]
    import dill  # type: ignore[import-untyped]
    import joblib  # type: ignore[import-untyped]

    plain = pickle.dumps(Payload(canary))
    yield File("pickle", "a pickle", plain, live=True)
    yield File("pickle", "a gzipped pickle", gzip.compress(plain), live=True)
    yield File("pickle", "a pickle of protocol 0, all text", pickle.dumps(Payload(canary), 0), live=True)
    yield File(
        "pickle", "cloudpickle, of a function by its code", cloudpickle.dumps(_toucher(canary)), live=True
    )
    yield File(
        "pickle", "dill, of a function by its code", dill.dumps(_toucher(canary), recurse=True), live=True
    )
    buffer = io.BytesIO()
    joblib.dump({"model": Payload(canary), "columns": [1, 2]}, buffer, compress=("zlib", 3))
    yield File("pickle", "joblib, compressed", buffer.getvalue(), live=True)
    yield File("pickle", "a pickle as schema.json", archive({"schema.json": plain}))
    yield File(
        "pickle",
        "a pickled array of objects",
        archive(_array("0.npy"), entries={"0.npy": _objects(canary, False)}),
    )
    sparse = node("SparseMatrixNode", "scipy.sparse._matrix", "spmatrix", type="scipy", file="0.npz")
    yield File(
        "pickle", "a pickled sparse matrix", archive(sparse, entries={"0.npz": _objects(canary, True)})
    )


def _types(canary: Path) -> Iterator[File]:
    """What skops writes without a murmur of objects that run something."""
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer
    from skops.io import dumps

    touch = partial(subprocess.run, ["touch", str(canary)])
    runs = FunctionTransformer(touch)
    yield File("skops type", "FunctionTransformer of a partial of subprocess.run", dumps(runs), live=True)
    yield File("skops type", "the same within a Pipeline", dumps(Pipeline([("runs", runs)])), live=True)
    yield File(
        "skops type", "a partial of os.system", dumps(partial(os.system, f"touch {canary}")), live=True
    )
    yield File("skops type", "os.system by its name", dumps(FunctionTransformer(os.system)))
    yield File("skops type", "operator.methodcaller", dumps(operator.methodcaller("touch")))
    yield File("skops type", "a bound method of a Path", archive(_method(canary)))
    yield File("skops type", "builtins.exec", dumps(FunctionTransformer(exec)))
    yield File(
        "skops type", "a class of the estimator's name elsewhere",
        archive(node("ObjectNode", ELSEWHERE, "Timetable", content=_dict({}))), live=True,
    )  # fmt: skip


def _schemas(canary: Path) -> Iterator[File]:
    """A schema.json that no object has: one loader's name with another's content."""
    popen = _list([_text("touch"), _text(str(canary))])
    arguments = node("TupleNode", "builtins", "tuple", content=[popen])
    reduced = node("ConstructorFromReduceNode", "subprocess", "Popen", content=arguments)
    yield File("schema", "a constructor that is subprocess.Popen", archive(reduced), live=True)
    loss = node("LossNode", "subprocess", "Popen", content=_dict({}), __reduce__={"args": arguments})
    yield File("schema", "a loss function that is subprocess.Popen", archive(loss), live=True)
    system = node("FunctionNode", "posix", "system")
    keyed = _dict({f"touch {canary}": _text("x")}) | {"key_types": _list([system])}
    yield File("schema", "os.system as the type of a key", archive(keyed), live=True)
    nested = node("ObjectNode", "sklearn.pipeline", "Pipeline", content=_dict({"steps": reduced}))
    yield File("schema", "a state dict with a constructor in it", archive(nested), live=True)
    called = _list([_text("touch " + str(canary))]) | {"__module__": "os", "__class__": "system"}
    yield File("schema", "a list whose class is os.system", archive(called))
    old = node("FunctionNode", "builtins", "exec", content={"module_path": "builtins", "function": "exec"})
    yield File("schema", "a loader of protocol 0", archive(old | {"protocol": 0}))
    yield File("schema", "a reference to itself", archive(node("CachedNode", "", "", __id__=1)))
    yield File("schema", "an unknown loader", archive(node("PickleNode", "pickle", "loads", content="x")))
    generator = {"bit_generator": _dict({"bit_generator": _text("seed")}), "seed_seq": _dict({})}
    yield File(
        "schema", "a generator that is numpy.random.seed",
        archive(node("RandomGeneratorNode", "numpy.random", "Generator", content=generator)),
    )  # fmt: skip
    yield File("schema", "a list 100,000 deep", archive({"schema.json": b"[" * 100_000}))
    yield File("schema", "no schema.json", archive({"other.json": b"{}"}))


def _archives(canary: Path, honest: bytes) -> Iterator[File]:
    yield File("archive", "cut in half", honest[: len(honest) // 2])
    yield File("archive", "nothing at all", b"")
    yield File("archive", "a zip bomb", lambda: _bomb("schema.json", 300))
    yield File(
        "archive", "a zip bomb within a sparse matrix",
        lambda: with_entries(honest, {"9.npz": _bomb("data.npy", 1100)}),
    )  # fmt: skip
    up = "/".join([".."] * 12) + str(canary)
    yield File("archive", "an entry that climbs out of its folder", with_entries(honest, {up: b"x"}))
    yield File("archive", "an entry with an absolute path", with_entries(honest, {str(canary): b"x"}))
    second = json.dumps(node("ObjectNode", "subprocess", "Popen")).encode()
    yield File("archive", "a second schema.json", with_entries(honest, {"schema.json": second}))
    yield File("archive", "code beside the model", with_entries(honest, {"__init__.py": b"import os"}))
    header = b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (10**15,), }".replace(
        b"10**15", b"1000000000000000").ljust(117) + b"\n"  # fmt: skip
    yield File(
        "archive", "an array that says it is 8 PB", archive(_array("0.npy"), entries={"0.npy": header})
    )


@lru_cache
def _bomb(name: str, megabytes: int) -> bytes:
    """An archive of a few KB with one entry of so many MB."""
    buffer, block = io.BytesIO(), bytes(1 << 20)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made, made.open(name, "w") as entry:
        for _ in range(megabytes):
            entry.write(block)
    return buffer.getvalue()


def node(loader: str, module: str, name: str, **more: Any) -> dict[str, Any]:
    """One node of a schema.json."""
    return {"__loader__": loader, "__module__": module, "__class__": name, "__id__": None, **more}


def archive(schema: Mapping[str, Any], entries: Mapping[str, bytes] | None = None) -> bytes:
    """A model file of one schema and more entries; or of the entries alone, where they are given as bytes."""
    raw = all(isinstance(value, bytes) for value in schema.values())
    plain = {"protocol": PROTOCOL, "_skops_version": "0.16.0", **schema}
    held = schema if raw else {"schema.json": json.dumps(plain).encode()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, data in {**held, **(entries or {})}.items():
            made.writestr(name, data)
    return buffer.getvalue()


def with_entries(honest: bytes, entries: dict[str, bytes]) -> bytes:
    """An honest model's file with more in it."""
    import warnings

    buffer = io.BytesIO(honest)
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "a") as made:
        warnings.simplefilter("ignore")  # zipfile says that a name is there twice; that is the point
        for name, data in entries.items():
            made.writestr(name, data)
    return buffer.getvalue()


def _text(text: str) -> dict[str, Any]:
    return node("JsonNode", "builtins", "str", content=json.dumps(text), is_json=True)


def _list(items: list[dict[str, Any]]) -> dict[str, Any]:
    return node("ListNode", "builtins", "list", content=items)


def _dict(items: dict[str, dict[str, Any]]) -> dict[str, Any]:
    keys = _list([node("TypeNode", "builtins", "str") for _ in items])
    return node("DictNode", "builtins", "dict", content=items, key_types=keys)


def _array(file: str) -> dict[str, Any]:
    return node("NdArrayNode", "numpy", "ndarray", type="numpy", file=file)


def _method(canary: Path) -> dict[str, Any]:
    path = node("ConstructorFromReduceNode", "pathlib", "PosixPath",
                content=node("TupleNode", "builtins", "tuple", content=[_text(str(canary))]))  # fmt: skip
    return node("MethodNode", "pathlib", "PosixPath", content={"obj": path, "func": "touch"})


def _objects(canary: Path, sparse: bool) -> bytes:
    """An array of objects that pickle reads, plain or as the data of a sparse matrix."""
    import numpy as np

    held, buffer = np.array([Payload(canary)], dtype=object), io.BytesIO()
    if sparse:
        index = np.array([0, 1])
        np.savez(buffer, format="csr", shape=(1, 1), data=held, indices=index[:1], indptr=index)  # type: ignore[arg-type]
    else:
        np.save(buffer, held, allow_pickle=True)
    return buffer.getvalue()


NAIVE = """
import gzip, joblib, pickle, sys
path = sys.argv[1]
data = open(path, "rb").read()
if data[:2] == b"PK":
    from skops.io import get_untrusted_types, load
    found = load(path, trusted=get_untrusted_types(file=path))
elif data[:2] == bytes([0x1F, 0x8B]):
    found = pickle.loads(gzip.decompress(data))
elif data[:1] == b"x":
    found = joblib.load(path)
else:
    found = pickle.loads(data)
if hasattr(found, "steps") and isinstance(found.steps, list):
    found = found.steps[0][1]
found.transform(0) if hasattr(found, "transform") else found() if callable(found) else None
"""
"""How a trusting program reads a model: whatever the file says it needs is trusted."""


def does_harm(file: File, folder: Path, canary: Path) -> bool:
    """Whether a trusting program that reads the file makes the canary, which is removed again."""
    import sys
    import time

    path = folder / "naive"
    path.write_bytes(file.data)
    # S603 is answered: our own text, run on our own file, in a process of its own.
    subprocess.run(
        [sys.executable, "-c", NAIVE, str(path)], cwd=folder, capture_output=True, check=False, timeout=120
    )
    until = time.monotonic() + 1
    while not canary.exists() and time.monotonic() < until:
        time.sleep(0.02)  # Popen does not wait for what it starts
    made = canary.exists()
    canary.unlink(missing_ok=True)
    return made
