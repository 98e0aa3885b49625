"""What somebody can do who may write to MLflow's database, its artifact store and the local copies, but has no key."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.prove.models.bench import Bench
from pipelines.stores.audit.keys import Keys
from pipelines.stores.audit.licences import LICENCE, ORIGIN
from pipelines.stores.tracking.registry import MODEL_FILE, Version

if TYPE_CHECKING:
    pass

DOORS = ("load", "serve", "restart", "gate", "probe")
"""The ways in: tracking.load, a server that runs, one that starts, the gate, and the probe."""
HONEST = ("serve", "restart")
"""Where a version is refused that is ours but has not passed its gate."""


Undo = Callable[[], None]


@dataclass(frozen=True)
class Deed:
    """Done, it gives the version it was done to and how it is undone. `doors` are those that must not open."""

    name: str
    do: Callable[[Bench], tuple[int, Undo]]
    kind: str = "store"
    doors: tuple[str, ...] = DOORS
    healed: bool = False
    """Nothing is refused: the right file is fetched again, and answers."""


def deeds() -> list[Deed]:
    """Every deed that needs no key."""
    tags = {
        "its digest made to fit a swapped file": _digest_edited,
        "its signature removed": lambda b: _tagged(b, {ORIGIN: None}),
        "its signature made up": lambda b: _tagged(b, {ORIGIN: "ab" * 64}),
        "its feature views edited": lambda b: _tagged(b, {"feature_views": '{"planted": 1}'}),
        "its moment edited": lambda b: _tagged(b, {"as_of": "2030-01-01T00:00:00+00:00"}),
        "its moment made nonsense": lambda b: _tagged(b, {"as_of": "yesterday"}),
        "its training rows edited": lambda b: _tagged(b, {"training_rows": "0" * 64}),
        "its libraries edited": lambda b: _tagged(b, {"libraries": "{}"}),
    }
    made = [Deed(name, do, "tags") for name, do in tags.items()]
    made += [
        Deed("another deployment's model, its key and licence", lambda b: _new(b, b.foreign, b.others()), "key"),
        Deed("a model nobody signed", lambda b: _new(b, b.foreign, None), "key"),
        Deed("the signature of another version", _copied_signature, "key"),
        Deed("the champion registered again under a new number", _copied, "key"),
        Deed("the champion's licence on a version without one", _copied_licence, "licence", HONEST),
        Deed("a licence by another deployment's key", lambda b: _licence_of(b, b.others()), "licence", HONEST),
        Deed("a licence for another file of the same number", _licence_elsewhere, "licence", HONEST),
        Deed("a licence that is no JSON", lambda b: _tagged(b, {LICENCE: "PASS"}, b.ungated), "licence", HONEST),
        Deed("the alias set by hand on an ungated version", lambda b: (b.ungated.version, _nothing), "licence", HONEST),
        Deed("a version registered by hand", _by_hand, "registry"),
        Deed("a version registered by hand with a pickle", _pickled_by_hand, "registry"),
        Deed("its source pointed at another folder", _elsewhere, "registry"),
        Deed("the file swapped, store and local copy", _swapped),
        Deed("the file made a link to another", _linked),
        Deed("one bit of the file flipped", _flipped),
        Deed("the file deleted", _deleted),
        Deed("the baseline swapped", _baseline, doors=("gate", "baseline")),
        Deed("MLmodel edited: pickle flavour, types trusted", _description, doors=("inputs",)),
        Deed("only the local copy swapped", _local_swapped, doors=(), healed=True),
        Deed("the local copy made a pipe", _piped, doors=(), healed=True),
    ]  # fmt: skip
    return made


def _nothing() -> None:
    """Nothing to undo."""


def _new(bench: Bench, data: bytes, keys: Keys | None) -> tuple[int, Undo]:
    return bench.register(data, keys).version, _nothing


def _tagged(bench: Bench, tags: Mapping[str, str | None], version: Version | None = None) -> tuple[int, Undo]:
    """Tags of the champion, or of another version, edited; None removes one."""
    version = version or bench.champion
    client, number = bench.stores.tracking.client, str(version.version)

    def put(wanted: Mapping[str, str | None]) -> None:
        for name, value in wanted.items():
            if value is None:
                client.delete_model_version_tag(version.model, number, name)
            else:
                client.set_model_version_tag(version.model, number, name, value)

    put(tags)
    return version.version, lambda: put({name: version.tags.get(name) for name in tags})


def _digest_edited(bench: Bench) -> tuple[int, Undo]:
    number, back = _swapped(bench)
    _, undo = _tagged(bench, {"digest": hashlib.sha256(bench.foreign).hexdigest()})
    return number, lambda: (undo(), back())[0]


def _copied_signature(bench: Bench) -> tuple[int, Undo]:
    version = bench.register(bench.foreign, None)
    bench.tag(version, {name: bench.champion.tags[name] for name in (ORIGIN, LICENCE)})
    return version.version, _nothing


def _copied(bench: Bench) -> tuple[int, Undo]:
    champion, client = bench.champion, bench.stores.tracking.client
    made = client.create_model_version(
        champion.model,
        champion.source,
        champion.run_id,
        tags=dict(champion.tags),
        model_id=_logged(champion),
    )
    return int(made.version), _nothing


def _copied_licence(bench: Bench) -> tuple[int, Undo]:
    return _tagged(bench, {LICENCE: bench.champion.tags[LICENCE]}, bench.ungated)


def _licence_of(bench: Bench, keys: Keys) -> tuple[int, Undo]:
    return _tagged(bench, {**bench.licence(bench.ungated, keys)}, bench.ungated)


def _licence_elsewhere(bench: Bench) -> tuple[int, Undo]:
    """One the deployment's own key signed, of the time when the number had another file."""
    given = bench.licence(bench.ungated, bench.stores.keys, "0" * 64)
    return _tagged(bench, {**given}, bench.ungated)


def _by_hand(bench: Bench) -> tuple[int, Undo]:
    source = bench.register(bench.foreign, None)
    made = bench.stores.tracking.client.create_model_version(bench.spec.name, source.source, source.run_id)
    return int(made.version), _nothing


def _pickled_by_hand(bench: Bench) -> tuple[int, Undo]:
    """What `mlflow.sklearn.log_model` does when it is asked for cloudpickle."""
    import logging
    import warnings

    import mlflow.sklearn
    from sklearn.dummy import DummyClassifier

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    bench.stores.tracking.client  # noqa: B018 - sets MLflow's addresses
    with (
        warnings.catch_warnings(),
        mlflow.start_run(experiment_id=bench.stores.tracking.experiment(bench.spec.name)),
    ):
        warnings.simplefilter("ignore")
        info = mlflow.sklearn.log_model(
            DummyClassifier(), name="m", serialization_format="cloudpickle", pip_requirements=[]
        )
    tags = dict(bench.champion.tags)
    made = bench.stores.tracking.client.create_model_version(
        bench.spec.name, info.artifact_path, info.run_id, tags=tags, model_id=info.model_id
    )
    return int(made.version), _nothing


def _elsewhere(bench: Bench) -> tuple[int, Undo]:
    """The registry's own column edited, as only its database allows."""
    import sqlalchemy as sa

    folder = bench.folder / "elsewhere"
    folder.mkdir(exist_ok=True)
    (folder / MODEL_FILE).write_bytes(bench.foreign)
    made = sa.create_engine(bench.stores.settings.mlflow_uri)

    def put(source: str) -> None:
        where = {"name": bench.spec.name, "version": bench.champion.version}
        edit = "update model_versions set source = :source where name = :name and version = :version"
        with made.begin() as connection:
            connection.execute(sa.text(edit), where | {"source": source})

    put(folder.as_uri())
    return bench.champion.version, lambda: put(bench.champion.source)


def _put_file(bench: Bench, paths: list[Path], put: Callable[[Path], object]) -> tuple[int, Undo]:
    """The champion's files replaced by what `put` makes, and how they come back."""
    before = {path: path.read_bytes() for path in paths}
    for path in paths:
        path.unlink()
        put(path)

    def back() -> None:
        for path, data in before.items():
            path.unlink(missing_ok=True)
            path.write_bytes(data)

    return bench.champion.version, back


def _both(bench: Bench) -> list[Path]:
    return [bench.artifact(_logged(bench.champion)), bench.stores.tracking.file(bench.champion)]


def _logged(version: Version) -> str:
    """The id of the logged model in its address, such as m-0123."""
    return next(part for part in version.source.split("/") if part.startswith("m-"))


def _swapped(bench: Bench) -> tuple[int, Undo]:
    return _put_file(bench, _both(bench), lambda path: path.write_bytes(bench.foreign))


def _linked(bench: Bench) -> tuple[int, Undo]:
    other = bench.folder / "other.skops"
    other.write_bytes(bench.foreign)
    return _put_file(bench, _both(bench), lambda path: path.symlink_to(other))


def _flipped(bench: Bench) -> tuple[int, Undo]:
    data = bytearray(bench.local(bench.champion).read_bytes())
    data[len(data) // 2] ^= 1
    return _put_file(bench, _both(bench), lambda path: path.write_bytes(data))


def _deleted(bench: Bench) -> tuple[int, Undo]:
    return _put_file(bench, _both(bench), lambda path: None)


def _local_swapped(bench: Bench) -> tuple[int, Undo]:
    local = bench.stores.tracking.file(bench.champion)
    return _put_file(bench, [local], lambda path: path.write_bytes(bench.foreign))


def _piped(bench: Bench) -> tuple[int, Undo]:
    return _put_file(bench, [bench.stores.tracking.file(bench.champion)], lambda path: os.mkfifo(path))


def _baseline(bench: Bench) -> tuple[int, Undo]:
    bench.stores.tracking.load_baseline(bench.champion)
    kept = bench.local(bench.champion).parent / "baseline" / MODEL_FILE
    logged = bench.artifact(bench.champion.run_id, f"baseline/{MODEL_FILE}")
    return _put_file(bench, [logged, kept], lambda path: path.write_bytes(bench.foreign))


def _description(bench: Bench) -> tuple[int, Undo]:
    """What MLflow itself would believe: a pickle flavour, and every type trusted."""
    text = json.dumps(
        {"flavors": {"sklearn": {"serialization_format": "pickle", "skops_trusted_types": ["os.system"]}}}
    )
    bench.stores.tracking.inputs(bench.champion)
    logged = bench.artifact(_logged(bench.champion), "MLmodel")
    kept = bench.local(bench.champion).with_name("MLmodel")
    paths = [path for path in (logged, kept) if path.exists()]
    return _put_file(bench, paths, lambda path: path.write_text(text))
