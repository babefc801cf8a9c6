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


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    from churn.spark.session import spark_session

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CHURN_SPARK_MASTER", "local[2]")
        environment.delenv("SPARK_REMOTE", raising=False)
        session = spark_session()
        session.sparkContext.setLogLevel("ERROR")
        # A few rows: each partition costs more than they do.
        session.conf.set("spark.sql.shuffle.partitions", "2")
        yield session
        session.stop()


@pytest.fixture
def snapshots(spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty SNAPSHOTS_URL, with CHURN_OFFLINE=spark."""
    monkeypatch.setenv("CHURN_OFFLINE", SPARK)
    monkeypatch.setenv("SNAPSHOTS_URL", str(tmp_path / "snapshots"))
    return tmp_path / "snapshots"
