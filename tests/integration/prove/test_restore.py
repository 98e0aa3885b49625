"""`evergreen prove restore`, small: a backup at work and restores, both killed, and what it holds them to."""

from pipelines.prove.restore import prove


def test_a_backup_taken_at_work_is_restored_whole_whoever_was_killed() -> None:
    said: list[str] = []
    proof = prove(4, 2, 50, 0, said.append)
    assert proof.failures == []
    assert proof.holds
    assert len(proof.rows) >= 3
    assert said
