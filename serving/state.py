"""What the views of one app share."""

from dataclasses import dataclass

from feast import FeatureService
from flask import Flask, current_app

from churn.features import FEATURE_SERVICE
from serving.features import OnlineStore
from serving.model import ProductionModel
from serving.settings import Settings


@dataclass(frozen=True)
class Serving:
    settings: Settings
    model: ProductionModel
    features: OnlineStore

    def feature_service(self) -> FeatureService:
        """Return the feature service of the served model; while there is none, the one new models learn from.

        Raises:
            Problem: feature-store-unavailable, with the reason.
        """
        served = self.model.served
        name, version = (served.feature_service, served.version) if served else (FEATURE_SERVICE, None)
        return self.features.service(name, version)


def attach(app: Flask, serving: Serving) -> None:
    app.extensions["churn"] = serving


def of(app: Flask) -> Serving:
    return app.extensions["churn"]


def current() -> Serving:
    """Return what the app that answers the request under way shares."""
    return of(current_app)
