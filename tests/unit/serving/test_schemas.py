"""What a model may be asked follows from its spec alone, and refusals say how to mend the request."""

import json
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.catalog import ModelSpec, dataset, model
from pipelines.serving.bounds import Bounds
from pipelines.serving.http.bodies import parsed
from pipelines.serving.schemas import Refusal, example, moment, refusal, request_model
from pipelines.settings import PROJECT

SPEC = model("flight_delays")


def changed(path: str, value: Any) -> dict[str, Any]:
    body = deepcopy(example(SPEC))
    group, field = path.split(".")
    body[group][field] = value
    return body


def refused(body: Any) -> Refusal:
    with pytest.raises(ValidationError) as caught:
        request_model(SPEC).model_validate(body)
    return refusal(SPEC, [{**error, "loc": ("body", *error["loc"])} for error in caught.value.errors()])


def test_the_specs_own_examples_are_accepted_and_times_come_out_in_utc() -> None:
    asked = request_model(SPEC).model_validate(
        changed("request.scheduled_departure", "2013-04-01T09:15:00-04:00")
    )
    assert asked.model_dump()["request"]["scheduled_departure"] == datetime(2013, 4, 1, 13, 15, tzinfo=UTC)


def test_a_column_may_have_any_name_that_python_and_pydantic_use_themselves() -> None:
    names = ["self", "cls", "copy", "json", "schema", "model_config", "model_dump", "field_0", "title"]
    kind = SPEC.request["distance"].model_copy(update={"example": 5})
    spec = SPEC.model_copy(update={"request": dict.fromkeys(names, kind)})
    made = request_model(spec)
    assert made.model_validate(example(spec)).model_dump() == example(spec)
    assert [*made.model_json_schema()["$defs"]["FlightDelaysFields"]["properties"]] == names
    with pytest.raises(ValidationError) as caught:
        made.model_validate(example(spec) | {"request": {**example(spec)["request"], "copy": "five"}})
    assert caught.value.errors()[0]["loc"] == ("request", "copy")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("entities.carrier", 7),
        ("entities.carrier", None),
        ("entities.carrier", ""),
        ("entities.carrier", "x" * 201),
        ("entities.carrier", "\ud800"),
        ("request.distance", "1400"),
        ("request.distance", 1400.5),
        ("request.distance", True),
        ("request.distance", 2**63),
        ("request.scheduled_departure", "2013-04-01T13:15:00"),
        ("request.scheduled_departure", "2013-04-01"),
        ("request.scheduled_departure", "tomorrow"),
        ("request.scheduled_departure", 1364822100),
        ("request.scheduled_departure", "0001-01-01T00:00:00+14:00"),
        ("request.scheduled_departure", "9999-12-31T23:59:59-14:00"),
    ],
)
def test_an_ill_typed_value_is_refused_with_its_field_and_an_example_of_the_right_one(
    path: str, value: Any
) -> None:
    (wrong,) = refused(changed(path, value)).fields
    group, field = path.split(".")
    assert wrong.field == path
    assert str(example(SPEC)[group][field]) in wrong.remedy


def test_a_missing_field_is_named() -> None:
    body = example(SPEC)
    del body["entities"]["tailnum"]
    (wrong,) = refused(body).fields
    assert wrong.field == "entities.tailnum"
    assert "N14228" in wrong.remedy


def test_an_unknown_field_is_named_with_those_that_exist() -> None:
    (wrong,) = refused(changed("entities.pilot", "Amelia")).fields
    assert wrong.field == "entities.pilot"
    assert "carrier, origin, dest, tailnum" in wrong.remedy


def test_a_body_of_another_shape_is_answered_with_a_whole_example() -> None:
    for body in ([], "text", 7, None, {"entities": []}):
        assert any('"carrier": "UA"' in wrong.remedy for wrong in refused(body).fields)


def test_a_time_without_zone_is_told_from_one_that_is_no_time() -> None:
    with pytest.raises(ValueError, match="no zone"):
        moment("2013-04-01T13:15:00")
    with pytest.raises(ValueError, match="not a time"):
        moment("13:15")


def test_floats_refuse_what_is_not_finite_and_a_model_without_request_fields_needs_none() -> None:
    fields = {"wind": {"type": "float", "description": "knots", "example": 3}}
    made = request_model(ModelSpec.model_validate(_raw() | {"entities": fields, "request": {}}))
    assert made.model_validate({"entities": {"wind": 3}}).model_dump()["entities"] == {"wind": 3.0}
    for value in (float("nan"), float("inf"), "3"):
        with pytest.raises(ValidationError):
            made.model_validate({"entities": {"wind": value}})


def _raw() -> dict[str, Any]:
    import yaml

    return dict(yaml.safe_load((SPEC.folder / "spec.yaml").read_text()))


def test_a_field_whose_column_may_be_empty_in_the_dataset_takes_null_and_no_other_does() -> None:
    asked = request_model(SPEC).model_validate(changed("entities.tailnum", None))
    assert asked.model_dump()["entities"]["tailnum"] is None
    columns = dataset(SPEC.label.dataset).columns
    others = [n for n in {**SPEC.entities, **SPEC.request} if not columns[n].nullable]
    assert len(others) >= 5
    for name in others:
        (wrong,) = refused(
            changed(f"{'entities' if name in SPEC.entities else 'request'}.{name}", None)
        ).fields
        assert wrong.field.endswith(name)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"entities": {"carrier": "UA", "carrier": "AA"}}', 'the key "carrier" stands twice'),
        (b'{"entities": {}, "request": {}, "entities": {}}', 'the key "entities" stands twice'),
        (b'{"a": [{"b": 1, "\\u0062": 1}]}', 'the key "b" stands twice'),
        (b"[" * 30_000, "nested too deeply"),
        (b'{"entities":' * 5_000, "nested too deeply"),
        (b"[" * 17 + b"]" * 17, "nested too deeply, more than 16 levels"),
        (b'{"x": [' + b"0," * 1_000 + b"0]}", "an array or object in it has 1,001 values, more than 1,000"),
        (json.dumps(dict.fromkeys(map(str, range(1_001)), 0)).encode(), "has 1,001 values"),
        (b'{"request": {"distance": ' + b"9" * 5_000 + b"}}", "a number in it has more than 4,300 digits"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"{", "Expecting property name"),
    ],
)
def test_a_body_that_cannot_be_read_or_has_two_meanings_is_told_what_is_wrong_with_it(
    body: bytes, said: str
) -> None:
    with pytest.raises(json.JSONDecodeError) as caught:
        parsed(body)
    assert said in caught.value.msg


def test_a_body_that_can_be_read_is_read_as_json_reads_it() -> None:
    deepest, longest = json.loads("[" * 15 + "]" * 15), [0] * 1_000
    body = json.dumps(example(SPEC) | {"x": [1.5, None, True, {"a": {"a": 1}}], "y": deepest, "z": longest})
    assert parsed(body.encode()) == json.loads(body)


@pytest.mark.parametrize(
    ("values", "broken"),
    [
        ({}, []),
        ({"distance": 1}, []),
        ({"distance": 6000}, []),
        ({"distance": 0}, ["distance: must lie between 1 and 6000"]),
        ({"distance": -(10**9)}, ["distance: must lie between 1 and 6000"]),
        ({"distance": 2**63 - 1}, ["distance: must lie between 1 and 6000"]),
        ({"origin": "BOS"}, ["origin: flights leave from New York"]),
        ({"carrier": "united"}, ["carrier: airline codes have two characters"]),
        ({"tailnum": None}, []),
        (
            {"scheduled_arrival": datetime(2013, 3, 1, tzinfo=UTC)},
            ["scheduled_arrival and scheduled_departure: no flight is planned to arrive before it leaves"],
        ),
    ],
)
def test_a_question_that_breaks_a_rule_of_the_suite_is_told_so_in_the_suites_words(
    values: dict[str, Any], broken: list[str]
) -> None:
    asked = request_model(SPEC).model_validate(example(SPEC)).model_dump()
    found = list(
        Bounds(SPEC, PROJECT / "expectations").broken({**asked["entities"], **asked["request"], **values})
    )
    assert len(found) == len(broken)
    assert all(said.startswith(start) for said, start in zip(found, broken, strict=True)), found


def test_a_model_without_a_suite_has_no_bounds(tmp_path: Path) -> None:
    assert list(Bounds(SPEC, tmp_path).broken({"distance": -1})) == []
