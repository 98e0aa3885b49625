"""The reference is made of what it describes: it is up to date, says everything, and everything it says is so."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import BaseModel, TypeAdapter, ValidationError

from docs.generator import commands, pages
from docs.generator.keys import examples, rules, sections, shipped
from docs.generator.pages import REFERENCE
from pipelines.catalog import DatasetSpec, ModelSpec
from pipelines.contracts import EvergreenError
from pipelines.settings import PROJECT, Settings

KINDS = {"spec": ModelSpec, "dataset": DatasetSpec}
SECTIONS = {s.kind.__name__: s.kind for kind in KINDS.values() for s in sections(kind)}
KEYS = [(kind, name) for kind in SECTIONS.values() for name in kind.model_fields]
FLIGHTS = yaml.safe_load((PROJECT / "pipelines" / "models" / "flight_delays" / "spec.yaml").read_text())
AIRPORTS = yaml.safe_load((PROJECT / "pipelines" / "datasets" / "airports.yaml").read_text())
TIMESTAMP = {"type": "timestamp", "description": "x"}


def test_the_reference_is_what_make_docs_writes() -> None:
    assert len(pages.files()) == 7
    assert [path.name for path in pages.outdated()] == [], "run `make docs`"


def test_every_key_and_every_check_says_what_it_means() -> None:
    assert len(KEYS) > 100
    assert list(pages.unsaid()) == []
    assert not [name for name, kind in SECTIONS.items() if not kind.__doc__]


@pytest.mark.parametrize("name", KINDS)
def test_every_key_has_a_row_in_its_section(name: str) -> None:
    text = (REFERENCE / f"{name}-yaml.md").read_text()
    for section in sections(KINDS[name]):
        part = text.split(f"## {section.kind.__name__}\n" if section.places != ("",) else "## Keys\n")[
            1
        ].split("\n## ")[0]
        for key, field in section.kind.model_fields.items():
            assert f"\n| `{field.alias or key}` |" in part, (section.kind, key)


@pytest.mark.parametrize("name", KINDS)
def test_every_example_and_every_default_is_taken(name: str) -> None:
    found, tried = examples(KINDS[name], shipped(name)), 0
    for section in sections(KINDS[name]):
        for key, field in section.kind.model_fields.items():
            taken = TypeAdapter(Annotated[field.annotation, None, *field.metadata])
            shown = pages.example(section.kind, field.alias or key, found)
            if shown:
                taken.validate_python(yaml.safe_load(shown))
                tried += 1
            for given in field.examples or ():
                taken.validate_python(given)
    assert tried > 15


def test_a_key_without_a_default_has_an_example_of_a_shipped_file_or_a_section() -> None:
    found = {name: examples(kind, shipped(name)) for name, kind in KINDS.items()}
    lacking = [
        f"{kind.__name__}.{key}"
        for name, whole in KINDS.items()
        for kind in (section.kind for section in sections(whole))
        for key, field in kind.model_fields.items()
        if field.is_required()
        and (kind.__name__, field.alias or key) not in found[name]
        and not field.examples
    ]
    assert lacking == []


def spec(*path: str | int, to: Any) -> dict[str, Any]:
    """flight_delays with another value at a place."""
    given = deepcopy(FLIGHTS)
    inner = given
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = to
    return given


QUIET = {"from": "05:00", "to": "07:00", "zone": "UTC"}
CLASSES = {"name": "x", "dataset": "x", "horizon": "1h"}
PUSH = {"name": "x", "add": {"x": 1}, "expect": "up"}
REFUSED: dict[tuple[str, str], list[Any]] = {
    ("ModelSpec", "knows_something"): [spec("entities", to={}), {**FLIGHTS, "features": [], "request": {}}],
    ("ModelSpec", "event_time_is_asked"): [
        spec("label", "event_time", to="nowhere"), spec("label", "event_time", to="distance"),
    ],
    ("ModelSpec", "degraded_fits"): [
        {**FLIGHTS, "degraded": {"required": [name]}} for name in ("nowhere:*", "origin_weather", "nowhere:temp")
    ],
    ("ModelSpec", "classes_fit_task"): [
        spec("label", "classes", to=["a", "b", "c"]), {**FLIGHTS, "task": "multiclass"},
        spec("label", to=FLIGHTS["label"] | {"classes": ["a", "b", "c"]}) | {"task": "multiclass", "threshold": 0.4},
    ],
    ("ModelSpec", "behaviour_fits_task"): [spec("gate", "behaviour", to={"directions": [{**PUSH, "class": "a"}]})],
    ("Labels", "classes_differ"): [
        {**CLASSES, "classes": given}
        for given in (["a", 1, "b"], ["a", "b", "a"], ["a", "b", " "], ["a", "b", "c" * 201])
    ],
    ("ModelSpec", "gate_fits_task"): [spec("gate", "floors", to={"r2": 0.1})],
    ("ModelSpec", "decay_fits_task"): [spec("monitor", "decay", "metric", to="mae")],
    ("ModelSpec", "search_fits"): [
        spec("search", "metric", to="mae"), spec("parameters", "learning_rate", to=3.0),
        spec("search", "space", to={"depth": {"low": 1, "high": 2}}),
    ],
    ("ModelSpec", "schedule_is_heard"): [spec("training", "quiet_hours", to=QUIET)],
    ("ModelSpec", "rollout_fits"): [{**FLIGHTS, "rollout": {"steps": [{"share": 0}], "by": ["nowhere"]}}],
    ("Rollout", "steps_grow"): [{"steps": [{"share": 0.2}, {"share": 0.2}]}],
    ("QuietHours", "sensible"): [{**QUIET, "to": "05:00"}, {**QUIET, "zone": "Mars/Base"}],
    ("Range", "sensible"): [{"low": 2, "high": 1}, {"low": 0, "high": 1, "log": True}],
    ("Comparison", "margin_where_needed"): [{"rule": "not_worse"}, {"stale_after": "7d"}],
    ("Fairness", "can_be_broken"): [{"group": "g", "at_most": 1}],
    ("Minimum", "has_a_bound"): [{"name": "x"}],
    ("Column", "may_be_missing_only_if_null"): [{**TIMESTAMP, "since": 2}, {**TIMESTAMP, "deprecated": 2}],
    ("Column", "times_have_a_zone"): [
        {"type": "string", "description": "x", "timezone": "UTC"},
        {"type": "float", "description": "x", "nanoseconds": "cut"}, {**TIMESTAMP, "timezone": "Mars/Base"},
    ],
    ("DatasetSpec", "subject_is_told_apart"): [{**AIRPORTS, "subject": "nowhere"}, {**AIRPORTS, "subject": "lat"}],
    ("DatasetSpec", "columns_fit"): [
        {**AIRPORTS, "key": ["nowhere"]}, {**AIRPORTS, "event_time": "x"}, {**AIRPORTS, "available_at": "x"},
        *({**AIRPORTS, "columns": AIRPORTS["columns"] | more} for more in (
            {"1st": TIMESTAMP}, {"FAA": TIMESTAMP}, {"x": {**TIMESTAMP, "header": "faa"}},
            {"x": {**TIMESTAMP, "nullable": True, "since": 2}},
        )),
    ],
}  # fmt: skip
"""What each check of the types refuses, clause by clause of what it says of itself."""


def test_each_check_of_the_types_is_tried() -> None:
    assert {(name, rule) for name, kind in SECTIONS.items() for rule in rules(kind)} == set(REFUSED)


@pytest.mark.parametrize(("check", "given"), [(c, g) for c, cases in REFUSED.items() for g in cases])
def test_a_check_refuses_what_it_says(check: tuple[str, str], given: Any) -> None:
    """And it alone, so that what is refused is what it says, not a slip of the example."""
    with pytest.raises(ValidationError) as caught:
        SECTIONS[check[0]].model_validate(given)
    assert [error["type"] for error in caught.value.errors()] == ["value_error"]


@pytest.mark.parametrize(
    "given",
    [
        {"home": "s3://b/x"},
        {"landing": "s3://b"},
        {"keys": "s3://b"},
        {"alert_urls": "x y"},
        {"lake": "/a*b"},
        {"storage": "ftp://host/x"},
        {"inbox": "ftp://host/x"},
        {"serving_tls_cert": "/c.pem"},
        {"serving_tls_key": "/k.pem"},
        {"serving_access": "oidc", "serving_oidc_issuer": "https://issuer.example"},
        {"serving_access": "oidc", "serving_oidc_audience": "us"},
        {"serving_key": "k", "serving_key_file": "/k"},
        {"serving_url": "models.example:8000"},
        {"residency": "eu-central-1"},
        {"database_url": "sqlite://", "database_url_file": "/x"},
        {"tls": "required", "tracking_uri": "http://mlflow:5000"},
    ],
)
def test_settings_refuse_what_they_say(given: dict[str, str]) -> None:
    assert len(rules(Settings)) == 8
    with pytest.raises(EvergreenError, match="EVERGREEN_"):
        Settings(_env_file=None, **given)  # type: ignore[arg-type]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> tuple[type[BaseModel], Draft202012Validator, list[Path]]:
    name = request.param
    written = json.loads((REFERENCE / f"{name}.schema.json").read_text())
    Draft202012Validator.check_schema(written)
    return KINDS[name], Draft202012Validator(written), shipped(name)


def test_an_editor_takes_what_the_catalog_takes_and_refuses_keys_that_it_refuses(kind: Any) -> None:
    model, editor, files = kind
    assert files
    for path in files:
        given = yaml.safe_load(path.read_text())
        assert list(editor.iter_errors(given)) == []
        needed = [key for key, field in model.model_fields.items() if field.is_required()]
        for broken in [
            given | {"colour": 1},
            *({k: v for k, v in given.items() if k != key} for key in needed),
        ]:
            assert not _taken(model, broken)
            assert not editor.is_valid(broken), set(given) ^ set(broken)


@pytest.mark.parametrize(
    "broken",
    [
        spec("training", "window", to="90"), spec("training", "window", to="7 d"), spec("threshold", to=1.0),
        spec("training", "quiet_hours", to={**QUIET, "from": "24:00"}), spec("gate", "floors", to={}),
        spec("gate", "floors", to={"auc": 1.0}), spec("gate", "champion", "rule", to="best"), spec("name", to="A b"),
        spec("gate", "fairness", 0, "at_least", to=1), spec("entities", "carrier", to={"type": "text"}),
    ],
)  # fmt: skip
def test_an_editor_refuses_values_that_the_catalog_refuses(broken: dict[str, Any]) -> None:
    editor = Draft202012Validator(json.loads((REFERENCE / "spec.schema.json").read_text()))
    assert not _taken(ModelSpec, broken)
    assert not editor.is_valid(broken)


def _taken(model: type[BaseModel], given: Any) -> bool:
    try:
        model.model_validate(given)
    except ValidationError:
        return False
    return True


def test_editors_are_told_of_the_schemas() -> None:
    told = json.loads((PROJECT / ".vscode" / "settings.json").read_text())["yaml.schemas"]
    assert {(PROJECT / path).resolve() for path in told} == {REFERENCE / f"{n}.schema.json" for n in KINDS}
    found = {name: sorted(PROJECT.glob(told[f"./docs/reference/{name}.schema.json"])) for name in KINDS}
    assert [path for name in KINDS for path in shipped(name) if path not in found[name]] == []


def test_the_page_of_commands_says_each_exit_code() -> None:
    codes = commands.page().split("| --- | --- |\n")[1].split("\n\n")[0]
    assert [line.split(" | ")[0] for line in codes.splitlines()] == [f"| {code}" for code in range(6)]
