#!/usr/bin/env bash
# deltalake 1.6.6: DeltaTable.file_uris() percent-encodes the table's own folder and gives the rest of the path as it is.
#
# A table below a folder with a space, partitioned by a value with a space, lies on disk as
#   a folder/p=x%20y/part-....parquet
# and file_uris() answers, without a scheme,
#   .../a%20folder/p=x%20y/part-....parquet
# so that neither the text as it is, nor the text decoded (p=x y), is the name of a file.
# What finds the file: the table's folder, joined with the path that get_add_actions() has.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check deltalake==1.6.6 pyarrow==24.0.0
"$folder/venv/bin/python" - "$folder" <<'PY'
import sys
from pathlib import Path
from urllib.parse import unquote

import deltalake
import pyarrow as pa

table = Path(sys.argv[1]) / "a folder"
deltalake.write_deltalake(str(table), pa.table({"p": ["x y"], "v": [1]}), partition_by=["p"])
(uri,) = deltalake.DeltaTable(str(table)).file_uris()
(there,) = table.rglob("*.parquet")
print("deltalake", deltalake.__version__)
print("on disk   ", there.relative_to(table.parent))
print("file_uris ", uri.removeprefix(str(table.parent.as_posix())).removeprefix("/"))
assert not Path(uri).exists(), "the text as it is names the file now"
assert not Path(unquote(uri)).exists(), "the decoded text names the file now"
assert "a%20folder" in uri, uri
print("Neither the text nor the decoded text is the file's name.")
PY
