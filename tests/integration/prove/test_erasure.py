"""`evergreen prove erasure`, small: what it promises holds, and it would see it if it did not."""

from pathlib import Path

import pytest

from pipelines.prove.erasure import prove
from pipelines.prove.erasure.residues import residues


def test_persons_leave_a_deployment_whole_and_the_loop_goes_on(tmp_path: Path) -> None:
    proof = prove(3, 120, 75, 1, 0, tmp_path / "home", lambda _: None, crowned=False)
    assert proof.failures == []
    assert proof.holds
    told = {row["what"]: row for row in proof.rows}
    assert told["before"]["files with them"] >= 20
    assert told["3 persons erased"]["files with them"] == 0
    assert told["3 persons erased"]["models that learned"] == 1
    assert told["the loop goes on"]["new rows"] > 0
    assert "cannot be made again" in told["the loop goes on"]["version 1 again"]


def test_a_byte_that_is_left_is_seen_in_any_form_and_nothing_to_look_at_is_no_proof(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="nothing was looked at"):
        residues(tmp_path, ["C00001"])
    (tmp_path / "a.bin").write_bytes(b"\x00C00001\x00C00002")
    assert residues(tmp_path, ["C00001"]) == {"a.bin": 1}
