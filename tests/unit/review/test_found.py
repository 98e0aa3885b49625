"""Rules of what a change touches: directly or through what models share, new, gone, and what belongs to nobody."""

import pytest
import yaml

from pipelines.contracts import EvergreenError
from pipelines.review.changes import found
from pipelines.review.changes.change import Weight
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
