"""What MLflow would cut is kept whole beside the run, and read back as it was logged."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH, MAX_TAG_VAL_LENGTH

from pipelines.stores.tracking.long_values import CUT, PARAMETER, TAG, restored, shortened, written
from pipelines.stores.tracking.records import Run

LENGTHS = st.sampled_from([0, 1, PARAMETER - 1, PARAMETER, PARAMETER + 1, TAG, TAG + 1, 3 * TAG])
TEXTS = st.builds(lambda sign, length, end: sign * length + end, st.sampled_from('xé"\n'), LENGTHS,
                  st.sampled_from(["", CUT]))  # fmt: skip
VALUES = st.dictionaries(st.sampled_from(["a", "b", "delta_versions"]), TEXTS)


def unread() -> str:
    raise AssertionError("the file was read")


def test_the_limits_are_mlflows_own() -> None:
    assert (PARAMETER, TAG) == (MAX_PARAM_VAL_LENGTH, MAX_TAG_VAL_LENGTH)


@given(parameters=VALUES, tags=VALUES)
def test_whatever_is_logged_fits_mlflow_and_is_read_back_whole(
    tmp_path_factory: pytest.TempPathFactory, parameters: dict[str, str], tags: dict[str, str]
) -> None:
    kept, told, whole = shortened(parameters, tags)
    assert all(len(value) <= PARAMETER for value in kept.values())
    assert all(len(value) <= TAG for value in told.values())
    path = written(whole, tmp_path_factory.mktemp("run"))
    found = restored(Run("r", 0, "", told, kept, {}), path.read_text if whole else unread)
    assert (found.parameters, found.tags) == (parameters, tags)


def test_a_value_that_was_cut_names_the_file_that_has_it_whole(tmp_path: Path) -> None:
    _, told, whole = shortened({}, {"delta_versions": "v" * (TAG + 1), "trigger": "x"})
    assert told["delta_versions"].endswith("... (whole in values/whole.json)")
    assert told["trigger"] == "x"
    assert json.loads(written(whole, tmp_path).read_text()) == {"tags": {"delta_versions": "v" * (TAG + 1)}}
