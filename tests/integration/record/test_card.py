"""Rules about the card of a version, on a real MLflow."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.contracts import Decision, EvergreenError
from pipelines.gate import evaluate as judge
from pipelines.gate import judged, opened, record
from pipelines.gate.report import files
from pipelines.record import card
from pipelines.stores import Stores
from pipelines.stores.audit.licences import Licence, licensed
from pipelines.training.train import train
from tests.training_sets import NOW, spec, training_set

SPEC = spec()


@pytest.fixture
def version(stores: Stores, tmp_path: Path):
    """A version that was trained and judged."""
    rows = training_set(tmp_path, rows=2500)
    made = train(SPEC, rows, stores)
    judge(SPEC, made, rows, stores, NOW)
    files.write(SPEC, made.version, rows, stores)
    card.write(SPEC, made.version, stores)
    return stores.tracking.version(SPEC.name, made.version)


def let(stores: Stores, version, decision: str, why: str = "") -> None:
    licence = Licence(
        SPEC.name,
        version.version,
        version.digest,
        decision,
        version.tags[record.DIGEST],
        "cli: maria",
        NOW,
        why,
    )
    stores.tracking.tag(SPEC.name, version.version, licensed(licence, stores.keys))


def written(case, rows):
    """The verdict on a case that was tampered with, written down as the gate does."""
    from pipelines import gate

    return record.write(case, gate._verdict(case, rows, judged(case)))


def logged(stores: Stores, version, folder: str) -> set[str]:
    return {Path(f.path).name for f in stores.tracking.client.list_artifacts(version.run_id, folder)}


def test_a_judged_version_has_its_card_page_and_details_in_mlflow(stores: Stores, version, tmp_path) -> None:
    assert logged(stores, version, "card") == {"card.md", "card.html"}
    assert {"1.html", "1.json", "details.json", "evidence.parquet"} <= logged(stores, version, "decision")
    folder = record.path_of(SPEC.name, 1, stores).with_suffix("")
    details = json.loads((folder / "details.json").read_text())
    assert details["importance"]["columns"]
    text = (folder / "card.md").read_text()
    verdict = record.read(version, stores)
    for told in (
        "What it is for.", "## The gate", "## Fairness", "## Calibration", "## What it goes by",
        verdict.decision.value, version.digest, version.tags["training_set"], "no licence", "| origin |",
    ):  # fmt: skip
        assert told in text, told
    assert all(rule.name.replace("|", "\\|") in text for rule in verdict.rules)
    said = stores.tracking.client.get_model_version(SPEC.name, "1").description
    assert said.startswith(verdict.decision.value)
    assert "log_loss" in said

    let(stores, version, "OVERRIDE", "the champion reads a column that is gone | <b>now</b>")
    path = card.write(SPEC, 1, stores)
    text = path.read_text()
    assert "**OVERRIDE**" in text
    assert "cli: maria" in text
    assert "<b>" not in text
    assert "a column that is gone" in stores.tracking.client.get_model_version(SPEC.name, "1").description
    page = record.path_of(SPEC.name, 1, stores).with_suffix(".html").read_text()
    assert 'class="override"' in page

    let(stores, version, "PASS")
    stores.tracking.set_alias(SPEC.name, "champion", 1)
    text = card.write(SPEC, 1, stores).read_text()
    assert "It is the champion" in text
    assert "OVERRIDE" not in text

    done = CliRunner().invoke(app, ["card", "flight_delays"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("# flight_delays version 1")
    for wrong, named in (("flight_delays@x", "is no version"), ("flight_delays@9", "no version 9")):
        done = CliRunner().invoke(app, ["card", wrong])
        assert done.exit_code == 1
        assert named in done.output

    path = record.path_of(SPEC.name, 1, stores)
    path.write_text(path.read_text() + " ")
    with pytest.raises(EvergreenError, match="not the record"):
        card.write(SPEC, 1, stores)


def test_a_version_that_was_not_judged_says_so(stores: Stores, tmp_path: Path) -> None:
    made = train(SPEC, training_set(tmp_path, rows=1500), stores)
    text = card.write(SPEC, made.version, stores).read_text()
    assert "not judged yet" in text
    assert "## The gate" not in text
    assert stores.tracking.client.get_model_version(SPEC.name, "1").description == "Not judged yet."

    rows = training_set(tmp_path, rows=1500)
    case = opened(SPEC, made.version, rows, stores, NOW)
    case.answers["candidate"] = case.answers["candidate"] * float("nan")
    assert not case.sound
    verdict = written(case, rows)
    assert verdict.decision is Decision.FAIL
    files.write(SPEC, made.version, rows, stores)
    assert "## What it goes by" not in card.write(SPEC, made.version, stores).read_text()
