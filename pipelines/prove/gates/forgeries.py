"""What a hand in the stores does to a given verdict: edited, borrowed from elsewhere, forged, or its file swapped."""

import hashlib
import json
import shutil
from dataclasses import replace

from pipelines.contracts import Decision, Verdict
from pipelines.gate import record
from pipelines.prove.gates.bench import Bench
from pipelines.stores.tracking.registry import CHAMPION
from pipelines.training import rebuild
from pipelines.training.answers import answers, as_column


def edited_record(bench: Bench, bad: int, good: int) -> None:
    """The record on disk says PASS, and the version's tag its new digest."""
    path = record.path_of(bench.spec.name, bad, bench.stores)
    text = path.read_text().replace("FAIL", "PASS").replace("INCONCLUSIVE", "PASS")
    path.write_text(text)
    tags = {record.DIGEST: hashlib.sha256(text.encode()).hexdigest(), record.VERDICT: "PASS"}
    bench.stores.tracking.tag(bench.spec.name, bad, tags)


def borrowed_record(bench: Bench, bad: int, good: int) -> None:
    """The record, the evidence and the tags of a version that passed."""
    for suffix in (".json", ".html"):
        shutil.copy(
            *(record.path_of(bench.spec.name, v, bench.stores).with_suffix(suffix) for v in (good, bad))
        )
    folders = [record.path_of(bench.spec.name, v, bench.stores).with_suffix("") for v in (good, bad)]
    shutil.copytree(folders[0], folders[1], dirs_exist_ok=True)
    theirs = bench.stores.tracking.version(bench.spec.name, good).tags
    names = (record.DIGEST, record.SIGNATURE, record.VERDICT)
    bench.stores.tracking.tag(bench.spec.name, bad, {name: theirs[name] for name in names})


def own_rebuild(bench: Bench, bad: int, good: int) -> None:
    """The candidate's own answers where its second making is kept, beside the signature of the honest ones."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    spec, stores = bench.spec, bench.stores
    asked = rebuild.recorded(spec, stores.tracking.version(spec.name, bad), stores)
    path = rebuild.path_of(asked, stores)
    signed = pq.read_table(path).schema.metadata
    held = pd.read_parquet(bench.rows.path, filters=[("split", "==", "holdout")]).reset_index(drop=True)
    own = as_column(answers(stores.tracking.load(spec.name, bad), held, spec.outputs))
    pq.write_table(pa.table({"answers": own}).replace_schema_metadata(signed), path)


def borrowed_licence(bench: Bench, bad: int, good: int) -> None:
    """The licence of the champion, and the alias by hand."""
    theirs = bench.stores.tracking.version(bench.spec.name, good).tags
    bench.stores.tracking.tag(bench.spec.name, bad, {n: theirs[n] for n in theirs if n.startswith("licence")})
    bench.stores.tracking.set_alias(bench.spec.name, CHAMPION, bad)


def forged_verdict(bench: Bench, bad: int, good: int) -> None:
    """A record of one's own, written and signed by the gate's own hand without judging."""
    found = bench.stores.tracking.version(bench.spec.name, bad)
    mine = record.read(found, bench.stores)
    kept = tuple(replace(rule, decision=Decision.PASS) for rule in mine.rules)
    _sign(bench, bad, replace(mine, decision=Decision.PASS, rules=kept))


def _sign(bench: Bench, version: int, verdict: Verdict) -> None:
    from pipelines.contracts import as_json

    text = json.dumps(as_json(verdict), indent=2)
    record.path_of(bench.spec.name, version, bench.stores).write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    found = bench.stores.tracking.version(bench.spec.name, version)
    signature = bench.stores.keys.sign(record._statement(found, digest))
    tags = {record.DIGEST: digest, record.SIGNATURE: signature, record.VERDICT: "PASS"}
    bench.stores.tracking.tag(bench.spec.name, version, tags)


def swapped_file(bench: Bench, bad: int, good: int) -> None:
    """Judged one file, then put another in its place."""
    files = [
        bench.stores.tracking.file(bench.stores.tracking.version(bench.spec.name, v)) for v in (good, bad)
    ]
    shutil.copy(*files)
