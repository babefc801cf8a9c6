"""Artifacts are downloaded only from the MLflow server, and only up to the available space."""

import pytest
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from churn.registry import artifacts
from churn.registry.artifacts import ArtifactRefused, at, fetch, sizes
from tests.conftest import mlflow_at


@pytest.fixture
def server():
    """MLflow configured with a server's address, which is never called."""
    with mlflow_at("http://127.0.0.1:9"):
        yield


@pytest.fixture
def kept(tmp_path):
    """A directory with files like a run's."""
    (tmp_path / "kept" / "evidence").mkdir(parents=True)
    (tmp_path / "kept" / "evidence" / "golden.parquet").write_bytes(b"x" * 1000)
    return get_artifact_repository(str(tmp_path / "kept"))


@pytest.mark.parametrize(
    "address",
    ["s3://theirs/x", "file:///etc", "/etc", "etc", "http://127.0.0.1:9/x", "mlflow-artifacts://127.0.0.1:9/x",
     "gs://theirs/x", "wasbs://a@b.blob.core.windows.net/x", "dbfs:/x", "models:/another/1", "runs:/another/x"],
)  # fmt: skip
@pytest.mark.usefixtures("server")
def test_with_a_server_other_artifact_addresses_are_refused(address):
    with pytest.raises(ArtifactRefused, match="register it through the server"):
        at(address)


@pytest.mark.usefixtures("server")
def test_with_a_server_files_are_fetched_by_its_local_address():
    assert at("mlflow-artifacts:/1/run/artifacts").artifact_uri.startswith("http://127.0.0.1:9/api/")


def test_without_a_server_files_are_read_from_the_recorded_address(tmp_path):
    with mlflow_at(f"sqlite:///{tmp_path}/mlflow.db"):
        assert at(str(tmp_path)).artifact_uri == str(tmp_path)


def test_a_file_is_fetched_and_a_missing_one_is_none(kept, tmp_path):
    assert sizes(kept, "evidence") == {"evidence/golden.parquet": 1000}
    into = tmp_path / "into"
    into.mkdir()
    assert fetch(kept, "evidence/golden.parquet", into).read_bytes() == b"x" * 1000
    assert fetch(kept, "evidence/grades.parquet", into) is None
    assert fetch(kept, "other/grades.parquet", into) is None


def test_a_file_that_is_too_large_is_not_fetched(kept, tmp_path):
    with pytest.raises(ArtifactRefused, match=r"evidence/golden\.parquet has 1000 bytes, and may have 999"):
        fetch(kept, "evidence/golden.parquet", tmp_path, largest=999)
    assert not (tmp_path / "evidence").exists()


def test_a_file_that_has_grown_since_it_was_listed_is_refused(kept, tmp_path, monkeypatch):
    into = tmp_path / "into"
    into.mkdir()
    monkeypatch.setattr(artifacts, "sizes", lambda *_: {"evidence/golden.parquet": 10})
    with pytest.raises(ArtifactRefused, match="has 1000 bytes, and may have 999"):
        fetch(kept, "evidence/golden.parquet", into, largest=999)
