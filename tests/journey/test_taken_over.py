"""A deployment of the version before, with data and a champion, is taken over by this one: nothing is lost or doubled.

The version before is made from git, by its own code in processes of its own.
"""

import json
import os
import subprocess
import sys
import tarfile
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest

from pipelines.catalog import dataset
from pipelines.ingestion.ingest import ingest_dataset
from pipelines.prove.promotion import world
from pipelines.record.verification import verify
from pipelines.settings import PROJECT

BEFORE = "c57b43e"
"""The commit of the version before; with tagged releases, the newest tag."""
HEAD = "faa,name,lat,lon,alt,tzone,registered_at,available_at\n"
ROW = "{0},{0} field,40.0,-70.0,10,America/New_York,2012-01-01T00:00:00Z,2012-01-01T00:00:00Z\n"
THEN = """
import json, sys
from pathlib import Path
import pandas as pd
from pipelines.catalog import dataset
from pipelines.prove import promotion_world as world
from pipelines.stages.ingest import ingest_dataset

home = Path(sys.argv[1])
stores, spec = world.opened(home), world.tiny()
states = [result.state.value for result in ingest_dataset(dataset("airports"), stores)]
made = world._trained(spec, stores, "a", 0)
world._crowned(spec, stores, made, 0)
fitted, rows = stores.tracking.load(spec.name, made[0]), pd.read_parquet(made[1].path)
answers = fitted.predict_proba(rows[list(fitted.feature_names_in_)])[:, 1]
digest = stores.tracking.version(spec.name, made[0]).digest
print(json.dumps({"states": states, "digest": digest, "rows": made[1].path, "answers": answers.tolist()}))
"""


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """The code of the version before."""
    done = subprocess.run(["git", "archive", BEFORE], cwd=PROJECT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"this clone is shallow: it has no commit {BEFORE}")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as packed:
        packed.extractall(tmp_path / "before", filter="data")
    return tmp_path / "before"


def land(home: Path, *codes: str) -> None:
    path = home / "landing" / f"airports_{codes[0]}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEAD + "".join(map(ROW.format, codes)))


@pytest.mark.timeout(1500)  # two generations of a champion, on a machine that others use
def test_a_deployment_of_the_version_before_goes_on(before: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    land(home, "AAA", "BBB")
    outside = {name: value for name, value in os.environ.items() if not name.startswith("EVERGREEN_")}
    done = subprocess.run(
        [sys.executable, "-c", THEN, str(home)],
        cwd=before, env=outside | {"PYTHONPATH": str(before)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    then = json.loads(done.stdout.splitlines()[-1])
    assert then["states"] == ["archived"]

    stores, spec = world.opened(home), world.tiny()
    assert verify(stores, datetime.now(UTC) + timedelta(hours=1)) == []
    champion = stores.tracking.champion(spec.name)
    assert champion is not None
    assert champion.digest == then["digest"]
    assert stores.tracking.licence(champion).digest == then["digest"]
    fitted, asked = stores.tracking.load(spec.name, champion.version), pd.read_parquet(then["rows"])
    answers = fitted.predict_proba(asked[list(fitted.feature_names_in_)])[:, 1]
    assert len(answers) > 1000
    assert answers.tolist() == then["answers"]

    land(home, "AAA", "BBB")
    land(home, "CCC")
    assert [result.state.value for result in ingest_dataset(dataset("airports"), stores)] == ["archived"]
    rows = stores.tables.silver(dataset("airports")).to_table()["faa"].to_pylist()
    assert sorted(rows) == ["AAA", "BBB", "CCC"]

    world._crowned(spec, stores, world._trained(spec, stores, "b", 1), 1)
    found = stores.tracking.champion(spec.name)
    assert found is not None
    assert found.version == champion.version + 1
    assert verify(stores, datetime.now(UTC) + timedelta(hours=1)) == []
