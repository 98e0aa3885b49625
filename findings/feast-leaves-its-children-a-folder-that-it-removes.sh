#!/usr/bin/env bash
# feast 0.67.0 with prometheus_client 0.24.1: `import feast` names a folder of its own in the environment
# (PROMETHEUS_MULTIPROC_DIR), which every process begun from there inherits, and removes it at its end. A child that outlives
# its parent, and never heard of Feast, cannot make a counter any more: FileNotFoundError.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check feast==0.67.0 prometheus_client==0.24.1 psutil
cat > "$folder/parent.py" <<'PY'
import os
import subprocess
import sys
from importlib.metadata import version

CHILD = """
import sys
sys.stdin.read()  # ends when the parent does
from prometheus_client import Counter
try:
    Counter("questions", "asked").inc()
    print("the child counts")
except OSError as error:
    print("the child cannot count:", type(error).__name__)
"""
before = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
import feast  # noqa: E402

print("feast", feast.__version__, "prometheus_client", version("prometheus_client"))
print("in the environment before:", before, "and after the import:", bool(os.environ.get("PROMETHEUS_MULTIPROC_DIR")))
child = subprocess.Popen([sys.executable, "-W", "ignore", "-c", CHILD], stdin=subprocess.PIPE)
PY
env -u PROMETHEUS_MULTIPROC_DIR -u PROMETHEUS_MULTIPROCESS_DIR "$folder/venv/bin/python" -W ignore "$folder/parent.py" | tee "$folder/said"
grep -q "before: None and after the import: True" "$folder/said"
grep -q "the child cannot count: FileNotFoundError" "$folder/said"
