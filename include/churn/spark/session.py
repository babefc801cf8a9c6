"""The Spark session: on this machine, on a cluster by its master URL, or by Spark Connect (SPARK_REMOTE)."""

import atexit
import hashlib
import os
import shutil
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from churn.code import INCLUDE
from churn.drops.storage import Location
from churn.settings import SettingError, spark_master

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DRIVER_MEMORY = "1g"
"""Heap of the driver. Rows of customers pass through it only in a training set, whose size is bounded. On one machine
(local[*]) it also sorts and joins; what does not fit goes to disk."""

FIXED = {
    # Timestamps are compared as texts and cast from texts.
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # A value that does not fit its column is an error.
    "spark.sql.ansi.enabled": "true",
    # Spark's default, INT96, is read as nanoseconds elsewhere, which Spark does not read again.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # A broadcast table passes through the driver. Spark decides by the size of its files, and a table of a million
    # customers has 5 MB as Parquet and 100 times as much as rows.
    "spark.sql.autoBroadcastJoinThreshold": "-1",
    "spark.sql.adaptive.autoBroadcastJoinThreshold": "-1",
}
"""Settings that results, or the driver's memory, depend on. What this module does not set is Spark's own:
spark-defaults.conf in SPARK_CONF_DIR."""

IDLE = {
    # A session lives as long as its task, which needs no executors while a model is fitted or a list is written.
    "spark.dynamicAllocation.enabled": "true",
    "spark.dynamicAllocation.executorIdleTimeout": "10s",
    # Spark's default keeps an executor for the shuffled rows of joins that have ended.
    "spark.dynamicAllocation.shuffleTracking.enabled": "true",
    "spark.dynamicAllocation.shuffleTracking.timeout": "10s",
}
"""Settings by which an idle session gives its executors back to the cluster; on local[*] there are none."""

CODE_SENT = "spark.churn.code"
"""Names the code that the session's executors have."""


class SparkMissing(SettingError):
    """CHURN_OFFLINE is spark, and pyspark, Java or Hadoop's jars for SNAPSHOTS_URL are not installed."""


def session_for(location: Location) -> "SparkSession":
    """Return the Spark session of this process, which can read and write at `location`.

    Raises:
        SparkMissing: pyspark is not installed, Java does not start, or Spark does not know the URL's protocol.
    """
    spark = spark_session()
    if "://" in str(location):
        _require_file_system(spark, location)
    return spark


def spark_session() -> "SparkSession":
    """Return the Spark session of this process; the first call starts it and sends this code to the executors.

    Raises:
        SparkMissing: pyspark is not installed, or Java does not start.
    """
    try:
        from pyspark.errors import PySparkRuntimeError  # noqa: PLC0415 — an extra, requirements-spark.txt
        from pyspark.sql import SparkSession  # noqa: PLC0415
    except ImportError as error:
        raise SparkMissing(f"CHURN_OFFLINE is spark, and pyspark cannot be imported ({error}): make spark") from error
    # Workers would take the first python3 in PATH.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    remote = bool(os.environ.get("SPARK_REMOTE"))
    builder = SparkSession.builder.appName("churn")
    for name, value in (FIXED if remote else FIXED | _of_driver(spark_master())).items():
        builder = builder.config(name, value)
    try:
        spark = builder.getOrCreate()
    except PySparkRuntimeError as error:
        if error.getCondition() != "JAVA_GATEWAY_EXITED":
            raise
        raise SparkMissing("Java does not start: install openjdk-17-jre-headless, or set JAVA_HOME") from error
    _send_code(spark, remote)
    return spark


def _of_driver(master: str) -> dict[str, str]:
    """Return the settings of a driver that this process starts."""
    here = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    return {
        "spark.master": master,
        "spark.driver.memory": DRIVER_MEMORY,
        # A page for anybody who reaches the machine; the history server shows event logs.
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **(here if master.startswith("local") else {}),
        **IDLE,
    }


# Asked once by a process: a task reads and writes several dates.
@cache
def _require_file_system(spark: "SparkSession", location: Location) -> None:
    from pyspark.errors import AnalysisException  # noqa: PLC0415

    url = url_of(location, "no-such-file")
    try:
        # A Connect server is asked only for the schema.
        _ = spark.read.parquet(url).schema
    except AnalysisException:
        # That there is no such file.
        return
    except Exception as error:
        if not any(said in str(error) for said in ("ClassNotFoundException", "No FileSystem for scheme")):
            raise
        raise SparkMissing(
            f"Spark does not know {url.partition(':')[0]}:// of SNAPSHOTS_URL: name Hadoop's jars for it as spark.jars "
            "or spark.jars.packages in spark-defaults.conf, or start the Connect server with them (docs/cluster.md, "
            "S3 by Spark)"
        ) from error


def _send_code(spark: "SparkSession", remote: bool) -> None:
    archive = _code()
    if spark.conf.get(CODE_SENT, None) == archive.name:
        return
    if remote:
        spark.addArtifacts(str(archive), pyfile=True)
    else:
        spark.sparkContext.addPyFile(str(archive))
    spark.conf.set(CODE_SENT, archive.name)


@cache
def _code() -> Path:
    """Return a zip file of this code, named by its content; executors fetch it as long as this process lives."""
    directory = Path(tempfile.mkdtemp(prefix="churn-code-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    modules = sorted((INCLUDE / "churn").rglob("*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in modules)).hexdigest()
    archive = directory / f"churn-{digest[:16]}.zip"
    with zipfile.PyZipFile(str(archive), "w") as file:
        # Compiled, because each worker would compile it again.
        file.writepy(str(INCLUDE / "churn"))
    return archive


def url_of(location: Location, name: str) -> str:
    """Return the URL by which Spark reads or writes a file or a folder below a location of drops/storage.py."""
    text = str(location).rstrip("/")
    if "://" not in text:
        return f"{Path(text).absolute().as_uri()}/{name}"
    # Hadoop's name for S3.
    return f"{text.replace('s3://', 's3a://', 1)}/{name}"
