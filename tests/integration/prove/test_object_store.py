"""`evergreen prove ingestion --store s3`, small: two machines, one real object store that is killed as well."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.contracts import EvergreenError
from pipelines.prove.ingestion import prove
from pipelines.prove.object_store import opened

WEED = shutil.which("weed") or shutil.which("weed", path=str(Path(sys.executable).parent))


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the proof says of its store to the libraries is not said to other tests."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "REGION", "ALLOW_HTTP", "ENDPOINT_URL"):
        monkeypatch.setenv(f"AWS_{name}", "")


@pytest.mark.skipif(WEED is None, reason="SeaweedFS is not installed here; make objects")
def test_two_machines_on_one_object_store_take_each_line_in_once(alone: None) -> None:
    said: list[str] = []
    proof = prove(4, None, 0, said.append, asked="s3")
    assert proof.failures == []
    [row] = proof.rows
    assert (row["kills"], row["store killed"]) == (4, 1)
    assert row["lines"] > 50
    assert {row[each] for each in ("lost", "doubled", "torn")} == {0}
    assert said


@pytest.mark.skipif(WEED is None, reason="SeaweedFS is not installed here; make objects")
def test_a_proof_that_is_asked_to_end_leaves_no_store_running(tmp_path: Path) -> None:
    program = (
        "import sys, time, pathlib\n"
        "from pipelines.prove.object_store import opened\n"
        "with opened('s3', pathlib.Path(sys.argv[1])) as store:\n"
        "    print(store.process.pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        store = Path("/proc", process.stdout.readline().strip())
        assert store.is_dir()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    assert not store.exists()


def test_a_store_that_nobody_can_name_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with (
        pytest.raises(EvergreenError, match=r"'disk' is no store; name s3, or an address"),
        opened("disk", tmp_path),
    ):
        pass


def test_a_store_of_the_users_own_gets_a_place_that_is_the_proofs_alone(tmp_path: Path) -> None:
    with opened("s3://bucket/prefix/", tmp_path) as one, opened("s3://bucket/prefix", tmp_path) as other:
        assert one is not None
        assert other is not None
        assert one.address.startswith("s3://bucket/prefix/")
        assert one.address != other.address
        one.kill()
