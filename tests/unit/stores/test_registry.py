"""Rules of Feast's registry as we keep it: whoever reads it finds it whole."""

import threading
from pathlib import Path

from feast.protos.feast.core.Registry_pb2 import Registry
from feast.repo_config import RegistryConfig

from pipelines.stores.feature_store.registry import WholeFileRegistryStore

VIEWS = 200


def registry() -> Registry:
    made = Registry()
    for number in range(VIEWS):
        made.feature_views.add().spec.name = f"view_{number}"
    return made


def test_a_reader_never_finds_a_registry_that_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    store = WholeFileRegistryStore(RegistryConfig(path=str(path)), tmp_path)
    store.update_registry_proto(registry())
    seen: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(len(store.get_registry_proto().feature_views))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(100):
        store.update_registry_proto(registry())
    done.set()
    reader.join()
    assert len(seen) > 10
    assert set(seen) == {VIEWS}
    assert [p.name for p in tmp_path.iterdir()] == ["registry.db"]
