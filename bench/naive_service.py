"""The naive service, as in the documentation of Feast, MLflow and FastAPI: a request calls Feast, then the pyfunc.

It is small and fair: the model is loaded once, and features are read through our store class, with one query where
Feast's own needs one per feature view, and a connection per thread. The view is a plain function, which FastAPI runs in
a thread. It runs under `uvicorn --workers 2` with httptools and uvloop.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import mlflow
from fastapi import FastAPI, Request
from pydantic import BaseModel

from churn.features.store import FEATURE_SERVICE, open_store
from churn.registry.model_version import MODEL_NAME, PRODUCTION

THREADS = 40
"""The number of FastAPI's threads."""


class Question(BaseModel):
    user_id: str


class Answer(BaseModel):
    user_id: str
    prediction: int
    features_used: dict[str, Any]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    store = open_store(os.environ["CHURN_DATABASE_URL"])
    store.config.online_store.max_connections = THREADS
    store.config.online_store.connection_timeout_seconds = 60.0
    app.state.store = store
    app.state.model = mlflow.pyfunc.load_model(f"models:/{MODEL_NAME}/{PRODUCTION}")
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/predict")
def predict(question: Question, request: Request) -> Answer:
    """Return the class of the pyfunc model, which uses the threshold 0.5."""
    store, model = request.app.state.store, request.app.state.model
    service = store.get_feature_service(FEATURE_SERVICE)
    features = store.get_online_features(features=service, entity_rows=[{"user_id": question.user_id}]).to_df()
    features = features.drop(columns="user_id")
    prediction = int(model.predict(features)[0])
    return Answer(user_id=question.user_id, prediction=prediction, features_used=features.iloc[0].to_dict())
