"""The process's Spark: how it starts, on this machine or as the driver of a cluster."""

import atexit
import importlib.util
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipelines.contracts import EvergreenError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LOGGING = """\
rootLogger.level = off
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %p %c{1}: %m%n
"""
QUIET = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.catalogImplementation": "in-memory",
}
"""How a session starts unless `conf` says otherwise."""
ALONE = {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
"""Where all of Spark runs in this process, nobody else need reach it. A cluster's executors call the driver back."""
MEANING = {
    "spark.sql.ansi.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.caseSensitive": "false",
    "spark.sql.decimalOperations.allowPrecisionLoss": "false",
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.filterPushdown": "false",
}
"""What the values depend on; `conf` cannot change it.

Row groups are not skipped by their statistics, which leave NaN out: `x > 1` would lose its NaN rows.
"""
INSTALL = "install it with `pip install pyspark sqlglot` in the versions of locks/spark.txt"


def session(master: str = "local[*]", conf: Mapping[str, str] | None = None) -> "SparkSession":
    """The process's Spark, started on the first call and stopped when the process ends.

    It has no UI, and on `local` masters its driver listens on loopback only. What neither `conf` nor this room says
    is as Spark's own spark-defaults.conf has it, in the folder that SPARK_CONF_DIR names.
    """
    check_installed()
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()
    if running is not None:
        return running
    logging = Path(tempfile.mkdtemp(prefix="evergreen-spark-log-")) / "log4j2.properties"
    logging.write_text(LOGGING)
    builder: Any = SparkSession.builder
    settings = _settings(master, conf or {}, logging)
    try:
        started: SparkSession = builder.master(master).appName("evergreen").config(map=settings).getOrCreate()
    except Exception as error:  # the gateway raises bare exceptions when Java does not start
        raise EvergreenError(_why_not(master, error)) from error
    atexit.register(shutil.rmtree, logging.parent, ignore_errors=True)
    atexit.register(stop)
    return started


def fresh(master: str, conf: Mapping[str, str] | None = None) -> "SparkSession":
    """A session with relations of its own, in which values mean what they mean on DuckDB."""
    found = session(master, conf).newSession()
    for name, value in MEANING.items():
        found.conf.set(name, value)
    return found


def is_local(master: str) -> bool:
    """Whether all of Spark runs in this process."""
    return master.split("[")[0] == "local"


def _settings(master: str, conf: Mapping[str, str], logging: Path) -> dict[str, str]:
    # Not extraJavaOptions, which spark-defaults.conf may set.
    java = {"spark.driver.defaultJavaOptions": f"-Dlog4j2.configurationFile={logging.as_uri()}"}
    return QUIET | java | (ALONE if is_local(master) else {}) | dict(conf) | MEANING


def _why_not(master: str, error: Exception) -> str:
    why = f"Spark did not start: {first_line(error)}; it needs Java 17 or later"
    if shutil.which("java") and not is_local(master):
        return (
            f"{why}, a master that answers at {master} (EVERGREEN_SPARK_MASTER), and a driver that executors reach:"
            " spark.driver.host in EVERGREEN_SPARK_CONF or spark-defaults.conf"
        )
    return f"{why}: install a runtime such as openjdk-17-jre-headless, or point JAVA_HOME to one"


def stop() -> None:
    """End the process's Spark, if it runs."""
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()
    if running is not None:
        running.stop()


def check_installed() -> None:
    """EvergreenError, naming what to install, where Spark cannot run."""
    missing = [name for name in ("pyspark", "sqlglot") if importlib.util.find_spec(name) is None]
    if missing:
        raise EvergreenError(f"{' and '.join(missing)} is missing, which features on Spark need; {INSTALL}")


def as_spark_has_it(uri: str) -> str:
    """An address of the lake as Hadoop's file systems call it."""
    return f"s3a://{uri.removeprefix('s3://')}" if uri.startswith("s3://") else uri


def check_reaches(running: "SparkSession", uri: str) -> None:
    """EvergreenError with the remedy if Spark has no file system for an address of the lake."""
    from py4j.protocol import Py4JJavaError

    jvm: Any = running._jvm
    scheme = urlsplit(as_spark_has_it(uri)).scheme
    if not scheme or len(scheme) == 1:
        return
    try:
        jvm.org.apache.hadoop.fs.FileSystem.getFileSystemClass(
            scheme, running._jsc.sc().hadoopConfiguration()
        )
    except Py4JJavaError as error:
        raise EvergreenError(
            _no_file_system(uri, scheme, jvm.org.apache.hadoop.util.VersionInfo.getVersion())
        ) from error


def _no_file_system(uri: str, scheme: str, hadoop: str) -> str:
    jar = {
        "s3a": f"org.apache.hadoop:hadoop-aws:{hadoop}",
        "gs": "com.google.cloud.bigdataoss:gcs-connector in a version for this Hadoop",
    }.get(scheme, f"org.apache.hadoop:hadoop-azure:{hadoop}")
    return (
        f"Spark cannot read the lake at {uri}: it has no file system for {scheme}://. Give it one: spark.jars.packages"
        f" {jar} in spark-defaults.conf (SPARK_CONF_DIR) or EVERGREEN_SPARK_CONF; or compute on DuckDB:"
        " EVERGREEN_FEATURE_ENGINE=duckdb"
    )


def first_line(error: Exception) -> str:
    """What an error of Spark says before its stack."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
