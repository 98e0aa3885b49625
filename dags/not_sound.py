"""Shows every spec that makes no DAG because it is not sound as an import error: where, what, and the remedy.

The DAGs of all other specs are there; `evergreen check NAME` says the same. (Airflow reads only files in which the
words airflow and dag stand.)
"""

from pipelines.catalog import faults
from pipelines.contracts import EvergreenError

if _found := faults():
    raise EvergreenError("\n".join(_found.values()))
