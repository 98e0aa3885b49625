#!/usr/bin/env bash
# pyspark 4.3.0: reading two Parquet files by their full names gives every row twice when a folder above them is called
# a{b,c}, although the option that says that paths are no patterns is set. Escaped braces give each row once.
set -euo pipefail
command -v java >/dev/null || { echo "needs Java 17" >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pyspark==4.3.0 pyarrow==24.0.0
"$folder/venv/bin/python" - "$folder" <<'PY' 2>/dev/null
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyspark
from pyspark.sql import SparkSession

below = Path(sys.argv[1]) / "a{b,c}"
below.mkdir()
files = []
for name, value in (("one", 1), ("two", 2)):
    pq.write_table(pa.table({"v": [value]}), below / f"{name}.parquet")
    files.append(str(below / f"{name}.parquet"))
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
plain = spark.read.option("__globPaths__", "false").parquet(*files).count()
escaped = [file.replace("{", "\\{").replace("}", "\\}") for file in files]
once = spark.read.parquet(*escaped).count()
print("pyspark", pyspark.__version__)
print("two files of one row each, by their names:", plain, "rows; with escaped braces:", once)
assert (plain, once) == (4, 2), "it is otherwise now"
PY
