#!/usr/bin/env bash
# apache-airflow-providers-openlineage 2.20.3 with Airflow 3.3.2: by default the listener forks for each event. What another thread
# of the task holds at that moment is held for ever in the fork: after execution_timeout it is killed, the event is lost, and
# the task has waited so long. With [openlineage] execute_in_thread it is told.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check uv
VIRTUAL_ENV="$folder/venv" "$folder/venv/bin/uv" pip install -q apache-airflow==3.3.2 apache-airflow-providers-openlineage==2.20.3
cat > "$folder/task.py" <<'PY'
import os
import sys
import threading
import time
from importlib.metadata import version

from airflow.providers.openlineage.plugins.listener import OpenLineageListener

told = sys.argv[1]
lock = threading.Lock()


def library():
    """A thread of some library, which holds its lock for a second."""
    with lock:
        time.sleep(1)


def event():
    with lock, open(told, "a") as file:
        file.write("told\n")


threading.Thread(target=library).start()
time.sleep(0.2)
began = time.monotonic()
OpenLineageListener()._execute(event, "on_success", use_fork=True)
how = os.environ.get("AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD", "False")
print("provider", version("apache-airflow-providers-openlineage"), "execute_in_thread", how, "event told:", os.path.exists(told),
      "after", "the time-out" if time.monotonic() - began > 3 else "a moment")
PY
export AIRFLOW_HOME="$folder/airflow" AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT=4
"$folder/venv/bin/python" -W ignore "$folder/task.py" "$folder/by_fork" | tee "$folder/said"
AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD=True "$folder/venv/bin/python" -W ignore "$folder/task.py" "$folder/by_thread" | tee -a "$folder/said"
grep -q "execute_in_thread False event told: False after the time-out" "$folder/said"
grep -q "execute_in_thread True event told: True after a moment" "$folder/said"
