"""What people look at after a judgement, written once the verdict stands: it is on nobody's way to promotion."""

import json
from pathlib import Path

from pipelines.catalog import ModelSpec
from pipelines.contracts import TrainingSet, Verdict
from pipelines.gate import record
from pipelines.gate.case import Case
from pipelines.gate.report.details import details
from pipelines.gate.report.page import page
from pipelines.gate.report.plots import draw
from pipelines.stores import Stores
from pipelines.training.answers import from_column


def write(spec: ModelSpec, version: int, rows: TrainingSet, stores: Stores) -> Path:
    """The plots of a version's newest verdict and the numbers behind its page, beside the record and on the run.

    They are made from the record's own evidence: nobody is asked again but the candidate, for its importances.
    """
    case = _judged(spec, version, rows, stores)
    folder = record.path_of(spec.name, version, stores).with_suffix("")
    told = details(case)
    path = folder / record.DETAILS
    record.put(path, json.dumps(told, indent=2), stores)
    stores.tracking.log_files(case.version.run_id, "decision", path)
    if case.sound:
        drawn = draw(spec, case.labels, case.answers, told["importance"], folder)
        stores.tracking.log_files(case.version.run_id, "plots", *drawn)
        stores.files.keep(*drawn)
    return path


def first(verdict: Verdict, stores: Stores) -> Path:
    """The page of a verdict as soon as it stands; `write` and the card put curves, importance and licence to it."""
    path = record.path_of(verdict.model, verdict.version, stores).with_suffix(".html")
    record.put(path, page(verdict, {}, None), stores)
    return path


def _judged(spec: ModelSpec, version: int, rows: TrainingSet, stores: Stores) -> Case:
    """The case as it was judged: held-out rows, and everybody's answers as the evidence has them."""
    import pandas as pd

    found = stores.tracking.version(spec.name, version)
    verdict, absent = record.read(found, stores), record.absent(found, stores)
    said = record.evidence(verdict, stores).drop(columns=["label", "block"])
    held = pd.read_parquet(rows.path, filters=[("split", "==", "holdout")]).reset_index(drop=True)
    answers = {str(who): from_column(said[who]) for who in said}
    return Case(spec, found, None, None, held, rows, stores, verdict.judged_at, answers, absent)
