"""What a step is told from outside is understood, or refused with what to write instead."""

import re

import pytest

from pipelines.contracts import EvergreenError
from pipelines.loop.steps import moment


@pytest.mark.parametrize("text", ["2013-04-01", "2013-04-01T06:30", "20130401"])
def test_a_time_without_a_zone_is_refused_with_one_that_is_taken(text: str) -> None:
    with pytest.raises(EvergreenError, match="needs a zone") as refused:
        moment(text)
    (named,) = re.findall(r"such as (\S+)", str(refused.value))
    found = moment(named)
    assert found is not None
    assert found.isoformat().startswith("2013-04-01T")
