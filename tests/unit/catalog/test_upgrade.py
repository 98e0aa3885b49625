"""Rules of older spec files: they load as before or name the command that mends them; what it writes loads."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipelines import catalog
from pipelines.catalog import DatasetSpec, ModelSpec, formats, model_spec, upgrade
from pipelines.cli import app
from pipelines.contracts import EvergreenError
from pipelines.settings import PROJECT

OLD = PROJECT / "tests" / "data" / "spec_format_1.yaml"
"""flight_delays as it first was, whose champion may be no worse by no margin: what the types of then took."""
SHIPPED = [*(catalog.HERE / "datasets").glob("*.yaml"), *(catalog.HERE / "models").glob("*/spec.yaml")]


def kind_of(path: Path) -> Any:
    return ModelSpec if path.name == "spec.yaml" else DatasetSpec


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "flight_delays" / "spec.yaml"
    path.parent.mkdir(parents=True)
    shutil.copy(OLD, path)
    return path


def test_an_old_spec_that_means_something_else_today_names_the_command(old: Path) -> None:
    with pytest.raises(EvergreenError, match=r"spec.yaml:1: .*run `evergreen upgrade flight_delays`"):
        catalog.read_spec(old, ModelSpec)


def test_the_difference_is_shown_and_nothing_is_written(old: Path) -> None:
    before = old.read_bytes()
    ((made,), _) = upgrade.found("flight_delays", old.parents[2])
    changed = [line for line in made.difference.splitlines() if line[0] in "+-"][2:]
    assert changed == [
        "+format: 2",
        "-  champion: {metric: log_loss, rule: not_worse, confidence: 0.95}  # as sound as the one that serves",
        "+  champion: {metric: log_loss, rule: better, confidence: 0.95}     # as sound as the one that serves",
    ]
    assert made.reasons
    assert all("`not_worse`" in why for why in made.reasons)
    assert old.read_bytes() == before


def test_what_is_written_loads_and_needs_no_more(old: Path) -> None:
    ((made,), _) = upgrade.found(None, old.parents[2])
    made.write()
    spec = catalog.read_spec(old, ModelSpec)
    assert (spec.format, spec.gate.champion.rule, spec.gate.champion.confidence) == (2, "better", 0.95)
    assert upgrade.found("flight_delays", old.parents[2]) == ([], [])


BOUND = st.fixed_dictionaries(
    {},
    optional={
        "rule": st.sampled_from(["better", "not_worse"]),
        "margin": st.sampled_from([0, 0.0, 0.005, 1]),
        "confidence": st.sampled_from([0.9, 0.95]),
    },
)


@given(BOUND, BOUND, st.booleans())
def test_an_upgraded_gate_closes_where_it_closed(baseline: Any, champion: Any, gated: bool) -> None:
    """In format 1 an interval had to lie above 0, or for `not_worse` above -margin."""
    plain = yaml.safe_load(OLD.read_text())
    if gated:
        plain["gate"] |= {"baseline": dict(baseline), "champion": dict(champion)}
    was = {
        name: -each.get("margin", 0.0) if each.get("rule") == "not_worse" else 0.0
        for name, each in ((n, plain["gate"][n]) for n in ("baseline", "champion"))
    }
    for migration in formats.MIGRATIONS[ModelSpec]:
        migration(plain)
    gate = ModelSpec.model_validate(plain).gate
    assert {name: getattr(gate, name).bound for name in was} == was


def test_comments_order_quotes_and_line_ends_stay(tmp_path: Path) -> None:
    """Only the lines that a migration changes are written anew, whatever a YAML writer would make of the others."""
    text = "\r\n".join(
        [
            "# whose it is", "name:   'flight_delays'   # its folder", "gate:", "  floors:   {roc_auc:  0.62}",
            "  champion:", "    rule: not_worse   # and no margin", "  calibration:   ~",
            "odd: [a,   'b',  \"c\"]", "list:", "- one", "-   two", "",
        ]
    )  # fmt: skip
    path = tmp_path / "spec.yaml"
    path.write_text(text, newline="")
    made = upgrade.upgrade(path, ModelSpec)
    wanted = text.replace("name:   'f", "format: 2\r\nname:   'f")
    wanted = wanted.replace("not_worse   #", "better      #")
    assert made.after == wanted
    assert made.faults
    with pytest.raises(EvergreenError, match="was not written"):
        made.write()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_is_shipped_is_of_todays_form_and_says_so(path: Path) -> None:
    kind = kind_of(path)
    assert yaml.safe_load(path.read_text())["format"] == formats.newest(kind)
    assert upgrade.upgrade(path, kind).after == path.read_text()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_file_from_before_formats_were_written_means_the_same(path: Path, tmp_path: Path) -> None:
    older = tmp_path / path.name
    older.write_text(path.read_text().replace(path.read_text().splitlines()[0] + "\n", "", 1))
    assert "format" not in yaml.safe_load(older.read_text())
    now, then = (catalog.read_spec(each, kind_of(path)) for each in (path, older))
    assert then.model_copy(update={"format": now.format}) == now
    if kind_of(path) is ModelSpec:
        assert upgrade.upgrade(older, ModelSpec).after == path.read_text()


@pytest.mark.parametrize("line", ["", "format: 1\n", "format: 2  # by evergreen upgrade\n", "format: 2\r\n"])
def test_the_format_is_nothing_of_the_model(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the digest is that of the files before they had one: records, verdicts and trainings stay what they are."""
    spec = catalog.model("flight_delays")
    plain = (spec.folder / "spec.yaml").read_text().partition("\n")[2]
    folder = tmp_path / "models" / "flight_delays"
    shutil.copytree(spec.folder, folder, ignore=shutil.ignore_patterns("__pycache__"))
    sha = hashlib.sha256()
    for name in ("__init__.py", "estimator.py", "label.sql", "spec.yaml"):
        said = plain.encode() if name == "spec.yaml" else (folder / name).read_bytes()
        sha.update(f"{name} {hashlib.sha256(said).hexdigest()}\n".encode())
    monkeypatch.setattr(model_spec, "HERE", tmp_path)
    (folder / "spec.yaml").write_text(line + plain, newline="")
    assert spec.digest == sha.hexdigest()
    (folder / "spec.yaml").write_text(line + plain.replace("threshold: 0.4", "threshold: 0.5"), newline="")
    assert spec.digest != sha.hexdigest()


@pytest.mark.parametrize("path", SHIPPED[:1] + SHIPPED[-1:], ids=lambda path: path.name)
def test_a_file_newer_than_the_code_is_refused_with_the_remedy(path: Path, tmp_path: Path) -> None:
    newer = tmp_path / path.name
    newer.write_text("format: 99\n" + path.read_text().partition("\n")[2] + "later: true\n")
    for read in (catalog.read_spec, upgrade.upgrade):
        with pytest.raises(EvergreenError, match=r"format 99.*update the checkout.*make install"):
            read(newer, kind_of(path))


@pytest.mark.parametrize("said", ["soon", "0", "-1", "1.5", "true", "null", "[2]"])
def test_a_format_that_is_none_is_refused_as_that(said: str, tmp_path: Path) -> None:
    broken = tmp_path / "airports.yaml"
    broken.write_text(f"format: {said}\n" + SHIPPED[0].read_text().partition("\n")[2])
    with pytest.raises(EvergreenError, match=r"airports.yaml:1: format: "):
        catalog.read_spec(broken, DatasetSpec)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [([], 5, "today's form"), (["flight_delay"], 1, "no model and no dataset is named 'flight_delay'")],
)
def test_the_command_says_what_there_is_to_do(arguments: list[str], code: int, said: str) -> None:
    answer = CliRunner().invoke(app, ["upgrade", *arguments])
    assert answer.exit_code == code, answer.output
    assert said in " ".join(answer.output.split())


def test_the_command_shows_and_writes(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade.found, "__defaults__", (old.parents[2],))
    shown = CliRunner().invoke(app, ["upgrade", "flight_delays"])
    assert shown.exit_code == 0, shown.output
    assert "+format: 2" in shown.output
    assert "--write" in shown.output
    assert old.read_text() == OLD.read_text()
    written = CliRunner().invoke(app, ["upgrade", "flight_delays", "--write"])
    assert "1 of 1 written." in written.output
    assert catalog.read_spec(old, ModelSpec).format == 2


def test_a_file_that_nobody_can_read_or_that_stays_unsound_stops_no_other(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = old.parents[1]
    texts = {
        "newer": "format: 99\n", "torn": "a: [\n", "odd": "- 1\n", "latin": "\xe9: 1\n",
        "unsound": OLD.read_text().replace("threshold: 0.4", "threshold: 4"),
    }  # fmt: skip
    for name, text in texts.items():
        (models / name).mkdir()
        (models / name / "spec.yaml").write_text(text, encoding="latin-1")
    monkeypatch.setattr(upgrade.found, "__defaults__", (old.parents[2],))
    answer = CliRunner().invoke(app, ["upgrade", "--write"])
    assert answer.exit_code == 1, answer.output
    assert "1 of 2 written." in answer.output
    assert [name for name in texts if f"{name}/spec.yaml" not in "".join(answer.output.split())] == []
    assert "Traceback" not in answer.output
    assert catalog.read_spec(old, ModelSpec).format == 2
    assert (models / "unsound" / "spec.yaml").read_text() == texts["unsound"]
