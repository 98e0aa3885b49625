"""What models share is parted by the stated rule, and the parts are the whole."""

from datetime import UTC, datetime
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from pipelines.loop.costs.shares import NOBODY, Users, alone, shares, users
from pipelines.stores.watching.costs import DATASET, MODEL, OK, SERVING, VIEWS, Figure

NAMES = st.sampled_from(["a", "b", "c", "d"])
MODELS = st.lists(st.sampled_from(["m", "n", "o"]), unique=True).map(tuple)
SECONDS = st.floats(0, 1e9, allow_nan=False)


def figure(kind: str, subject: str = "", parts: dict[str, float] | None = None) -> Figure:
    return Figure("stage", kind, subject, OK, datetime(2026, 3, 1, tzinfo=UTC), 2, 1, parts=parts or {})


@given(
    kind=st.sampled_from([MODEL, DATASET, VIEWS, SERVING]),
    subject=NAMES,
    parts=st.dictionaries(st.one_of(NAMES, NAMES.map("{}@v2".format)), SECONDS),
    known=st.builds(Users, st.dictionaries(NAMES, MODELS), st.dictionaries(NAMES, MODELS)),
)
def test_the_parts_are_always_the_whole(
    kind: str, subject: str, parts: dict[str, float], known: Users
) -> None:
    each = figure(kind, subject, parts)
    found = shares(each, known)
    assert sum(found.values()) == 1
    assert all(part >= 0 for part in found.values())
    assert all(alone(each, model, known) <= found.get(model, 0) for model in ("m", "n", "o"))


def test_two_models_that_share_a_view_get_half_each() -> None:
    known = Users({}, {"shared": ("m", "n")})
    assert shares(figure(VIEWS, parts={"shared": 3.0}), known) == {"m": Fraction(1, 2), "n": Fraction(1, 2)}
    assert alone(figure(VIEWS, parts={"shared": 3.0}), "m", known) == 0


def test_views_count_by_the_seconds_that_each_took() -> None:
    known = Users({}, {"shared": ("m", "n"), "own": ("m",)})
    each = figure(VIEWS, parts={"shared": 1.0, "own": 3.0})
    assert shares(each, known) == {"m": Fraction(7, 8), "n": Fraction(1, 8)}
    assert alone(each, "m", known) == Fraction(3, 4)


def test_what_serving_takes_for_nobody_is_shared_by_the_models_that_it_serves() -> None:
    known = Users({}, {})
    both, one = figure(SERVING, parts={"m": 1.0, "n": 1.0}), figure(SERVING, parts={"m": 1.0})
    assert shares(both, known) == {"m": Fraction(1, 2), "n": Fraction(1, 2)}
    assert (alone(both, "m", known), alone(one, "m", known), alone(one, "n", known)) == (0, 1, 0)
    assert shares(figure(SERVING), known) == {NOBODY: 1}


def test_what_no_model_asks_for_is_nobodys() -> None:
    known = Users({"flights": ()}, {})
    assert shares(figure(DATASET, "flights"), known) == {NOBODY: 1}
    assert shares(figure(VIEWS, parts={"gone": 1.0}), known) == {NOBODY: 1}


def test_the_catalogs_models_share_what_their_specs_name() -> None:
    known = users()
    assert set(known.views["origin_weather"]) == {"airport_hours", "flight_delays"}
    assert set(known.datasets["departures"]) == {"airport_hours", "flight_delays"}
    assert known.datasets["planes"] == ("flight_delays",)
