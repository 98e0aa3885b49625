"""Rules of the deployment's keys."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.contracts import EvergreenError
from pipelines.settings import PROJECT
from pipelines.stores.audit.keys import Keys


def test_what_was_signed_verifies_and_nothing_else_does(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys")
    signature = keys.sign(b"this")
    assert keys.verifies(b"this", signature)
    assert not keys.verifies(b"that", signature)
    assert not keys.verifies(b"this", signature[:-2])
    assert not keys.verifies(b"this", "no hex")
    assert not keys.verifies(b"this", "")


def test_another_deployments_signature_does_not_verify(tmp_path: Path) -> None:
    ours, theirs = Keys(tmp_path / "ours"), Keys(tmp_path / "theirs")
    ours.sign(b"this")
    assert not ours.verifies(b"this", theirs.sign(b"this"))


def test_who_verifies_needs_the_public_key_alone_and_never_makes_one(tmp_path: Path) -> None:
    ours, serving = Keys(tmp_path / "ours"), Keys(tmp_path / "serving")
    signature = ours.sign(b"this")
    with pytest.raises(EvergreenError, match="copy it from where models are trained"):
        serving.verifies(b"this", signature)
    assert not serving.folder.exists()
    serving.folder.mkdir()
    (serving.folder / "verifying.pem").write_bytes((ours.folder / "verifying.pem").read_bytes())
    assert Keys(serving.folder).verifies(b"this", signature)


def test_keys_made_at_once_are_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(lambda _: Keys(tmp_path / "keys").audit, range(32)))
        signatures = set(pool.map(lambda _: Keys(tmp_path / "keys").sign(b"this"), range(32)))
    assert (len(secrets), len(signatures)) == (1, 1)
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == [
        "audit.key", "signing.pem", "verifying.pem",
    ]  # fmt: skip


def test_keys_that_others_can_read_are_told_of(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys")
    assert keys.exposed() == []
    keys.sign(b"this")
    assert len(keys.audit) == 32
    assert keys.exposed() == []
    (keys.folder / "audit.key").chmod(0o644)
    [warning] = keys.exposed()
    assert "audit.key is open to others" in warning


def test_a_file_that_is_no_key_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys")
    signature = keys.sign(b"this")
    (keys.folder / "signing.pem").write_bytes(b"nonsense")
    (keys.folder / "verifying.pem").write_bytes(b"nonsense")
    with pytest.raises(EvergreenError, match="is no Ed25519 key"):
        Keys(keys.folder).sign(b"this")
    with pytest.raises(EvergreenError, match="is no Ed25519 key"):
        Keys(keys.folder).verifies(b"this", signature)


def test_keys_of_a_mount_that_cannot_be_written_sign_and_verify_and_a_missing_one_is_told(
    tmp_path: Path,
) -> None:
    """As Kubernetes mounts a Secret: root's, its group may read, nobody writes."""
    given, empty = tmp_path / "given", tmp_path / "empty"
    empty.mkdir()
    Keys(given).sign(b"x")
    (given / "audit.key").write_bytes(b"k" * 32)
    for path in given.iterdir():
        path.chmod(0o440)
    given.chmod(0o777)
    script = """
import sys; from pathlib import Path; from pipelines.stores.audit.keys import Keys
keys = Keys(Path(sys.argv[1])); print(keys.verifies(b"x", keys.sign(b"x")), keys.audit == b"k" * 32, keys.exposed())
try: Keys(Path(sys.argv[2])).sign(b"x")
except Exception as error: print(type(error).__name__, str(error).removeprefix(sys.argv[2]))
"""
    mount = """
for at in "$2" "$3"; do mount --bind "$at" "$at"; mount -o remount,ro,bind "$at"; done
exec "$0" -c "$1" "$2" "$3"
"""
    command = ["unshare", "-rm", "sh", "-ec", mount, sys.executable, script, str(given), str(empty)]
    told = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, cwd=PROJECT, env=told, capture_output=True, text=True)
    if done.returncode and not done.stdout:
        pytest.skip(f"no mount can be made here: {done.stderr[-200:]}")
    assert done.stdout.splitlines() == [
        "True True []",
        "EvergreenError /signing.pem is missing and cannot be made: Read-only file system;"
        " put the deployment's key there",
    ]


def test_who_sees_only_the_home_has_the_key_that_verifies_and_none_that_signs(tmp_path: Path) -> None:
    ours, shown = Keys(tmp_path / "vault", tmp_path / "home"), Keys(tmp_path / "home")
    signature = ours.sign(b"statement")
    assert shown.verifies(b"statement", signature)
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["verifying.pem"]
