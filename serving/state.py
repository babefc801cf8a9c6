"""What the views of one app share."""

from dataclasses import dataclass

from flask import Flask, current_app

from churn.features import FEATURE_SERVICE
from churn.online_lookup import OnlineLookup
from serving.features import OnlineStore
from serving.model import ProductionModel
from serving.overload import Line
from serving.prediction_log import PredictionLog
from serving.settings import Settings


@dataclass(frozen=True)
class Serving:
    settings: Settings
    model: ProductionModel
    features: OnlineStore
    predictions: PredictionLog
    line: Line

    def lookup(self) -> OnlineLookup:
        """Return what reads the features of the served model; while there is none, those that new models learn from.

        Raises:
            Problem: feature-store-unavailable, with the reason.
        """
        served = self.model.served
        return served.lookup if served else self.features.lookup(FEATURE_SERVICE)


def attach(app: Flask, serving: Serving) -> None:
    app.extensions["churn"] = serving


def of(app: Flask) -> Serving:
    return app.extensions["churn"]


def current() -> Serving:
    """Return what the app that answers the request under way shares."""
    return of(current_app)
