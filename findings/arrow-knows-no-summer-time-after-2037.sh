#!/usr/bin/env bash
# pyarrow 25.0.1: pyarrow.compute.assume_timezone knows no summer time after 2037, and says nothing. Noon of July in New
# York is 16:00 UTC in 2037 and 17:00 UTC in 2038; zoneinfo, with the same zone files, says 16:00 for both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pyarrow==25.0.1 tzdata==2025.2
"$folder/venv/bin/python" - <<'PY'
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

zone, noons = "America/New_York", [datetime(year, 7, 1, 12) for year in (2037, 2038)]
told = pc.assume_timezone(pa.array(noons, pa.timestamp("us")), zone).to_pylist()
arrow = [moment.astimezone(UTC).hour for moment in told]
python = [noon.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).hour for noon in noons]
print("pyarrow", pa.__version__)
print("noon of July 1 in New York, 2037 and 2038, as an hour of UTC: pyarrow", arrow, "zoneinfo", python)
assert python == [16, 16], python
assert arrow == [16, 17], "it is otherwise now"
PY
