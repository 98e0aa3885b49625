"""Rules of what a model file holds: two writings of one model are equal, two models are not."""

from pathlib import Path

import numpy as np
from skops.io import dump

from pipelines.stores.contents import contents_digest
from pipelines.stores.tracking.registry import file_digest


def model(seed: int = 0, names: tuple[str, ...] = ("a", "a")):
    from sklearn.ensemble import HistGradientBoostingClassifier

    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(400, 3))
    fitted = HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(rows, rows[:, 0] > 0)
    fitted.notes_ = list(names)
    return fitted


def test_two_writings_of_one_model_hold_the_same_in_different_bytes(tmp_path: Path) -> None:
    fitted = model()
    for name in ("one", "other"):
        dump(fitted, tmp_path / name)
    dump(model(), tmp_path / "again")
    dump(model(names=("a", "".join(["", "a"]))), tmp_path / "apart")
    assert file_digest(tmp_path / "one") != file_digest(tmp_path / "again")
    assert len({contents_digest(tmp_path / name) for name in ("one", "other", "again", "apart")}) == 1


def test_other_numbers_are_another_model(tmp_path: Path) -> None:
    dump(model(0), tmp_path / "one")
    dump(model(1), tmp_path / "other")
    assert contents_digest(tmp_path / "one") != contents_digest(tmp_path / "other")
