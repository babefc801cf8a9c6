"""The naive service: what the documentations of Feast, MLflow and FastAPI say, put together. Every request asks Feast
and then the pyfunc model.

It is small and it is fair. The model is loaded once. It reads the same online tables as ours, through the store class
of ours, which asks Postgres once where Feast's own asks for each feature view; with a connection for each thread. A
view that waits is a plain function, which FastAPI runs in a thread. `uvicorn --workers 2`, with httptools and uvloop.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import mlflow
from fastapi import FastAPI, Request
from pydantic import BaseModel

from churn.features.store import FEATURE_SERVICE, open_store
from churn.registry.versions import MODEL_NAME, PRODUCTION

THREADS = 40
"""As many as FastAPI has."""


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
    """Answer what the pyfunc model says: the class, which scikit-learn takes above a probability of 0.5."""
    store, model = request.app.state.store, request.app.state.model
    service = store.get_feature_service(FEATURE_SERVICE)
    features = store.get_online_features(features=service, entity_rows=[{"user_id": question.user_id}]).to_df()
    features = features.drop(columns="user_id")
    prediction = int(model.predict(features)[0])
    return Answer(user_id=question.user_id, prediction=prediction, features_used=features.iloc[0].to_dict())
