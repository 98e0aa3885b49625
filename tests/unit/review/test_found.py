"""Rules of what a change touches: directly or through what models share, new, gone, and what belongs to nobody."""

import json
from copy import deepcopy

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.contracts import EvergreenError
from pipelines.review.changes import data, found
from pipelines.review.changes.change import Weight
from pipelines.review.changes.markdown import rendered
from pipelines.review.changes.sides import Side
from pipelines.settings import PROJECT
from pipelines.stores import Stores

RAW = yaml.safe_load((PROJECT / "pipelines" / "models" / "flight_delays" / "spec.yaml").read_text())
VIEW = """from feast import FeatureView
v = FeatureView(name="{name}", owner="o", ttl=None, entities=[origin], schema=[Field(name="x", dtype=Float64)])
"""


def model(name: str, *features: str, dataset: str = "flights", owner: str = "o") -> dict[str, bytes]:
    """A model of the real spec's kind that takes these views."""
    label = {"name": "late", "dataset": dataset, "horizon": "2h"}
    spec = RAW | {
        "name": name,
        "features": list(features),
        "datasets": [dataset],
        "label": label,
        "owner": owner,
    }
    spec["gate"] = {"floors": {"roc_auc": 0.6}}
    return {
        f"pipelines/models/{name}/spec.yaml": yaml.safe_dump(spec).encode(),
        f"pipelines/models/{name}/label.sql": b"select 1",
    }


def view(name: str, sql: str = "-- look_back: 1 day\nselect 1 from weather") -> dict[str, bytes]:
    return {
        f"feature_repo/{name}.py": VIEW.format(name=name).encode(),
        f"feature_repo/{name}.sql": sql.encode(),
    }


def dataset(name: str, extra: str = "") -> dict[str, bytes]:
    text = f"name: {name}\ndescription: x\nowner: o\npattern: {name}_*\nkey: [a]\n"
    text += f"event_time: t\navailable_at: t\n{extra}"
    columns = "columns:\n  a: {type: string, description: x}\n  t: {type: timestamp, description: x}\n"
    return {f"pipelines/datasets/{name}.yaml": (text + columns).encode()}


ONE = b'{"expectations": [{"type": "x", "kwargs": {}}]}'
BASE = {
    **model("one", "v:*"), **model("two", dataset="planes"), **view("v"), **dataset("flights"), **dataset("weather"),
    **dataset("planes"), "feature_repo/entities.py": b"", "expectations/flights.json": b'{"expectations": []}',
}  # fmt: skip


def touched(stores: Stores, after: dict[str, bytes], *asked: str) -> dict[str, tuple[str, ...]]:
    told = found.compared(Side("a", BASE), Side("b", after), asked, stores)
    return {each.model: each.through for each in told.models}


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        ({}, {}),
        ({"pipelines/models/two/label.sql": b"select 2"}, {"two": ("label.sql",)}),
        (view("v", "-- look_back: 1 day\nselect 2 from weather"), {"one": ("view v",)}),
        (dataset("weather", "max_bad_share: 0.9\n"), {"one": ("dataset weather",)}),
        (dataset("planes", "owner_: 1\n"), {"two": ("dataset planes",)}),
        ({"expectations/flights.json": ONE}, {"one": ("dataset flights",)}),
        ({"expectations/features/v.json": ONE}, {"one": ("view v",)}),
        ({"feature_repo/entities.py": b"x = 1"}, {"one": ("feature_repo/entities.py",)}),
        ({"feature_repo/helping.py": b"x = 1"}, {"one": ("feature_repo/helping.py",)}),
        ({"pipelines/models/two/extra.py": b"x = 1"}, {"two": ("extra.py",)}),
    ],
)  # fmt: skip
def test_a_model_is_touched_by_its_own_files_and_by_what_it_leans_on(
    edit: dict[str, bytes], expected: dict[str, tuple[str, ...]], stores: Stores
) -> None:
    assert touched(stores, BASE | edit) == expected


def test_a_model_that_goes_takes_its_gate_with_it_and_one_that_comes_says_what_it_is(stores: Stores) -> None:
    after = {path: text for path, text in BASE.items() if "/two/" not in path} | model(
        "three", "v:x", owner="them"
    )
    told = found.compared(Side("a", BASE), Side("b", after), (), stores)
    states = {each.model: each.state for each in told.models}
    assert states == {"three": "new", "two": "removed"}
    assert [(name, str(change)) for name, change in told.weighed(Weight.LOOSENED)] == [
        ("two", "the model and its gate removed: LOOSENED")
    ]
    said = {str(change) for change in told.models[0].changes}
    assert {"owner: them", "features: [v:x]", "floors: roc_auc 0.6"} <= said


def test_a_view_that_goes_is_told_to_whom_takes_it(stores: Stores) -> None:
    after = {path: text for path, text in BASE.items() if not path.startswith("feature_repo/v.")}
    told = found.compared(Side("a", BASE), Side("b", after), (), stores)
    assert [each.through for each in told.models] == [("view v",)]
    assert [str(each) for each in told.shared["view v"]] == [
        "feature view v removed, was: 1 features by origin (versions that were trained on it keep it)"
    ]


def test_only_the_models_that_were_asked_for_are_told_of_and_only_what_they_share(stores: Stores) -> None:
    edit = BASE | dataset("weather", "max_bad_share: 0.9\n") | dataset("planes", "max_bad_share: 0.9\n")
    told = found.compared(Side("a", BASE), Side("b", edit), ["two"], stores)
    assert [each.model for each in told.models] == ["two"]
    assert set(told.shared) == {"dataset planes"}
    with pytest.raises(EvergreenError, match="no model named 'tow'"):
        found.compared(Side("a", BASE), Side("b", edit), ["tow"], stores)


def test_what_belongs_to_no_model_dataset_or_view_is_said_all_the_same() -> None:
    odd = {
        "expectations/features/gone.json": b"{}",
        "pipelines/models/notes.txt": b"x",
        "expectations/x.json": b"{}",
    }
    own = {"pipelines/models/two/label.sql": b"2", "expectations/features/v@v2.json": b"{}"}
    assert found._nobodys(Side("a", BASE), Side("b", BASE | odd | own)) == sorted(odd)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PLACES = [
    tuple(int(part) if part.isdigit() else part for part in path.split("."))
    for path in [
        "gate",
        "gate.floors",
        "gate.guards",
        "gate.guards.0",
        "gate.champion.margin",
        "gate.anchor",
        "gate.behaviour",
        "gate.slices",
        "gate.behaviour.directions.0.expect",
        "gate.fairness.0.group",
        "monitor",
        "monitor.decay",
        "training.holdout",
        "label",
        "features",
        "datasets",
        "parameters",
        "promotion",
        "owner",
        "name",
    ]
]


@settings(max_examples=60)
@given(st.sampled_from(PLACES), ANYTHING)
def test_whatever_a_spec_says_in_a_place_it_is_compared_and_shown(
    place: tuple[str | int, ...], value: object
) -> None:
    """Sound or not, of this model or of a new one: a difference is told, and nothing ends in a traceback."""
    edited = deepcopy(RAW)
    at = edited
    for part in place[:-1]:
        at = at[part]
    differs = at[place[-1]] != value if place[-1] in at or isinstance(place[-1], int) else value is not None
    at[place[-1]] = value
    path = "pipelines/models/flight_delays/spec.yaml"
    texts = [yaml.safe_dump(each, allow_unicode=True).encode() for each in (RAW, edited)]
    before, after = Side("a", {path: texts[0]}), Side("b", {path: texts[1]})
    told = list(found._changes("flight_delays", before, after))
    assert told or not differs or value in ({}, [])
    new = list(found._changes("flight_delays", Side("a", {}), after))
    assert len(new) == 9
    found._leans_on("flight_delays", before, after)
    assert rendered(found.Diff("r", "c", 0, (found.Touched("m", "changed", "o", (), (*told, *new)),), {}))


@settings(max_examples=40)
@given(st.sampled_from(["columns", "key", "max_bad_share", "pattern", "null_values", "version"]), ANYTHING)
def test_whatever_a_dataset_or_a_suite_says_it_is_compared(name: str, value: object) -> None:
    raw = yaml.safe_load(dataset("d")["pipelines/datasets/d.yaml"])
    edited = yaml.safe_dump(raw | {name: value}, allow_unicode=True).encode()
    suite = json.dumps(
        {
            "expectations": [
                value,
                {"type": "x", "kwargs": value},
                {"type": value, "kwargs": {"min_value": value}},
            ]
        }
    )
    before = Side(
        "a",
        dataset("d")
        | {"expectations/d.json": b'{"expectations": [{"type": "x", "kwargs": {"min_value": 1}}]}'},
    )
    after = Side("b", {"pipelines/datasets/d.yaml": edited, "expectations/d.json": suite.encode()})
    assert list(data.dataset("d", before, after))
