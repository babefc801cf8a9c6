"""The state that an app's views share."""

from dataclasses import dataclass

from flask import Flask, current_app

from serving.batching import MicroBatches
from serving.features import OnlineStore
from serving.model import ProductionModel
from serving.overload import Load
from serving.prediction_log import PredictionLog
from serving.served import Scored
from serving.settings import Settings


@dataclass(frozen=True)
class Serving:
    settings: Settings
    model: ProductionModel
    features: OnlineStore
    predictions: PredictionLog
    load: Load
    batches: MicroBatches[str, Scored]
    workers: int


def attach(app: Flask, serving: Serving) -> None:
    app.extensions["churn"] = serving


def of(app: Flask) -> Serving:
    return app.extensions["churn"]


def current() -> Serving:
    """Return the state of the current app."""
    return of(current_app)
