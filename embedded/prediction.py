"""Asking the running service about one customer."""

import csv
import json
from pathlib import Path

import requests

from embedded.services import session
from embedded.settings import Settings


class PredictionError(RuntimeError):
    """The service gave no prediction; the message is its problem document."""


def predict(settings: Settings, user_id: str) -> str:
    """Return the service's answer for `user_id`, laid out for reading.

    Raises:
        PredictionError: the service answered with a problem, or not at all.
    """
    url = f"{settings.serving_url}/predict"
    try:
        answer = session().post(url, json={"user_id": user_id}, timeout=30)
        document = json.dumps(answer.json(), indent=2, ensure_ascii=False)
    except requests.RequestException as error:
        raise PredictionError(f"{url} cannot be asked (make status): {error}") from error
    if not answer.ok:
        raise PredictionError(document)
    return document


def any_customer(drop: Path) -> str:
    """Return the first customer of a drop."""
    with (drop / "users.csv").open(encoding="utf-8-sig", newline="") as file:
        return next(csv.DictReader(file))["user_id"]
