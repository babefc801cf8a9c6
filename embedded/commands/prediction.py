"""Requests the prediction for one customer from the running service."""

import csv
import json
import time
from pathlib import Path
from typing import Any

import requests

from embedded.settings import Settings
from embedded.stack.services import session


class PredictionError(RuntimeError):
    """The service gave no prediction; the message is its problem document."""


def predict(settings: Settings, user_id: str) -> str:
    """Return the service's answer for `user_id` as indented JSON.

    Raises:
        PredictionError: the service answered with a problem document, or not at all.
    """
    return _laid_out(_ask(settings, user_id))


def predict_by(settings: Settings, user_id: str, version: int | None, patience_seconds: float) -> str:
    """Return the answer for `user_id` once `version` (None: any) gives it, as indented JSON.

    Raises:
        PredictionError: after `patience_seconds` there is no answer, or another version's.
    """
    deadline = time.monotonic() + patience_seconds
    late = f"after {patience_seconds:.0f} s serving does not answer with version {version}, which is in Production"
    while True:
        try:
            answer = _ask(settings, user_id)
            if version in (None, answer["model"]["version"]):
                return _laid_out(answer)
            found = f"{_laid_out(answer)}\n{late}: make doctor shows why"
        except PredictionError as error:
            found = f"none: {error}"
        if version is None or time.monotonic() > deadline:
            raise PredictionError(found)
        time.sleep(1)


def _ask(settings: Settings, user_id: str) -> dict[str, Any]:
    url = f"{settings.serving_url}/predict"
    try:
        answer = session().post(url, json={"user_id": user_id}, timeout=30)
        document: dict[str, Any] = answer.json()
    except requests.RequestException as error:
        raise PredictionError(f"{url} does not answer (make status): {error}") from error
    if not answer.ok:
        raise PredictionError(_laid_out(document))
    return document


def _laid_out(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)


def any_customer(drop: Path) -> str:
    """Return the first customer of a drop."""
    with (drop / "users.csv").open(encoding="utf-8-sig", newline="") as file:
        return next(csv.DictReader(file))["user_id"]
