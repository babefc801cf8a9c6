"""The gate board's data from MLflow: the version in stage Production, its pin, and the report of a decision.

MLflow is imported lazily, and churn.registry.loading not at all: it imports scikit-learn and skops, which are too
heavy for a web server.
"""

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn.gate.decision_files import folder_of
from churn.registry.model_version import MODEL_NAME, ModelVersion

if TYPE_CHECKING:
    from mlflow import MlflowClient

PIN = "gate.pin"
"""Tag of the registered model while Production is pinned: {"version", "who", "why", "at"} as JSON."""

SHOWN = re.compile(r"(pictures/)?[A-Za-z0-9_][A-Za-z0-9_.-]*\.(svg|png|html)")
"""Allowed paths of report files. The pattern excludes `..`: no part of a path starts with a dot."""

LARGEST = 20 * 1024 * 1024
"""Maximum size of a shown file in bytes; a report has one or two MB."""


class NotShown(LookupError):
    """The file is not part of a decision's report, does not exist, or is too large."""


@dataclass(frozen=True)
class Registry:
    """The registered model: the version in Production, and the pin, None if not pinned."""

    production: ModelVersion | None
    pin: Mapping[str, Any] | None


def read_registry() -> Registry:
    """Return the version in stage Production, and the pin.

    Raises:
        mlflow.exceptions.MlflowException: MLflow is unavailable.
    """
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 — see above

    from churn.registry.client import is_missing, production  # noqa: PLC0415 — see above

    client = _client()
    try:
        pin = _pin(client.get_registered_model(MODEL_NAME).tags.get(PIN))
    except MlflowException as error:
        if is_missing(error):
            return Registry(None, None)
        raise
    return Registry(production(client), pin)


def report_files(run_id: str, decision: int) -> list[str]:
    """Return the sorted paths of a decision's pictures and report, for read_report_file().

    Raises:
        mlflow.exceptions.MlflowException: MLflow is unavailable, or the run is unknown.
    """
    from churn.registry.artifacts import of_run, sizes  # noqa: PLC0415 — see above

    folder, kept = folder_of(decision), of_run(run_id)
    found = [path for each in (folder, f"{folder}/pictures") for path in sizes(kept, each)]
    names = (path.removeprefix(f"{folder}/") for path in found)
    return sorted(name for name in names if SHOWN.fullmatch(name))


def read_report_file(run_id: str, decision: int, name: str) -> bytes:
    """Return a file of a decision's report.

    Raises:
        NotShown: `name` is not a report file, does not exist, or is too large.
        mlflow.exceptions.MlflowException: MLflow is unavailable.
    """
    if not SHOWN.fullmatch(name):
        raise NotShown(f"{name!r} is not a picture or the report")
    from churn.registry.artifacts import fetch, of_run, sizes  # noqa: PLC0415 — see above

    path, kept = f"{folder_of(decision)}/{name}", of_run(run_id)
    size = sizes(kept, path.rpartition("/")[0]).get(path)
    if size is None:
        raise NotShown(f"decision {decision} has no {name}")
    if size > LARGEST:
        raise NotShown(f"{name} has {size} bytes; open it in MLflow")
    with tempfile.TemporaryDirectory() as directory:
        file = fetch(kept, path, Path(directory))
        return file.read_bytes() if file else b""


def _client() -> "MlflowClient":
    from mlflow.tracking import MlflowClient  # noqa: PLC0415 — see above

    return MlflowClient()


def _pin(text: str | None) -> Mapping[str, Any] | None:
    if not text:
        return None
    try:
        pin = json.loads(text)
    except ValueError:
        # Edited by hand: Production is still pinned.
        return {"why": text}
    return pin if isinstance(pin, dict) else {"why": text}
