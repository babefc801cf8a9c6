"""A Spark session on this machine, shared by these tests: one worker of pytest-xdist runs the folder."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from churn.settings import SPARK

needs_spark = pytest.mark.skipif(
    # In CI they must run.
    not (importlib.util.find_spec("pyspark") and (shutil.which("java") or os.environ.get("CI"))),
    reason="pyspark or Java is not installed: make spark, and openjdk-17-jre-headless",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(needs_spark)


OF_A_FEW_ROWS = {
    # Each partition costs more than its rows.
    "spark.sql.shuffle.partitions": "2",
    # Code is compiled once for each kind of query, and not optimized further.
    "spark.sql.codegen.cache.maxEntries": "2000",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from churn.spark.session import spark_session

    configuration = tmp_path_factory.mktemp("spark-conf")
    (configuration / "spark-defaults.conf").write_text(
        "".join(f"{name} {value}\n" for name, value in OF_A_FEW_ROWS.items())
    )
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SPARK_CONF_DIR", str(configuration))
        environment.setenv("CHURN_SPARK_MASTER", "local[2]")
        environment.delenv("SPARK_REMOTE", raising=False)
        session = spark_session()
        session.sparkContext.setLogLevel("ERROR")
        yield session
        session.stop()


@pytest.fixture
def snapshots(spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty SNAPSHOTS_URL, with CHURN_OFFLINE=spark."""
    monkeypatch.setenv("CHURN_OFFLINE", SPARK)
    monkeypatch.setenv("SNAPSHOTS_URL", str(tmp_path / "snapshots"))
    return tmp_path / "snapshots"
