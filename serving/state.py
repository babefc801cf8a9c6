"""What the views of one app share."""

from dataclasses import dataclass

from flask import Flask, current_app

from serving.features import OnlineStore
from serving.gathering import Gathering
from serving.model import ProductionModel
from serving.overload import Line
from serving.prediction_log import PredictionLog
from serving.problems import Problem
from serving.served import Scored
from serving.settings import Settings


@dataclass(frozen=True)
class Serving:
    settings: Settings
    model: ProductionModel
    features: OnlineStore
    predictions: PredictionLog
    line: Line
    gathering: Gathering[str, Scored | Problem]


def attach(app: Flask, serving: Serving) -> None:
    app.extensions["churn"] = serving


def of(app: Flask) -> Serving:
    return app.extensions["churn"]


def current() -> Serving:
    """Return what the app that answers the request under way shares."""
    return of(current_app)
