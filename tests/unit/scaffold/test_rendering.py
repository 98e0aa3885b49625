"""Rules of what is written into a model's files."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipelines.scaffold.files.rendering import _ttl

LENGTHS = st.integers(1, 60 * 24 * 4000).map(lambda minutes: timedelta(minutes=minutes))


@given(LENGTHS)
def test_values_live_as_long_as_they_are_looked_back_for_in_days_or_less_than_one(length: timedelta) -> None:
    unit, _, number = _ttl(length).partition("=")
    lives = timedelta(**{unit: int(number)})
    assert length <= lives < length + timedelta(days=1)
    assert not lives.days or not lives.seconds
