"""The model registry, and the verdict on the version in Production.

It asks MLflow's REST API, since MLflow's Python client takes seconds to import.
"""

from collections.abc import Iterable, Mapping

import psycopg
import requests

from churn.outcomes.standing import Standing, verdict_in_words, verdict_on
from churn.postgres.database import connect, statement
from churn.registry.model_version import MODEL_NAME, ModelVersion
from churn.registry.state import Oddity, in_production, oddities
from embedded.environment import environment
from embedded.settings import Settings
from embedded.stack.services import session


def registered_versions(settings: Settings) -> list[ModelVersion]:
    """Return the model versions.

    Raises:
        requests.RequestException: MLflow does not answer.
    """
    asked = {"filter": f"name = '{MODEL_NAME}'", "max_results": "10000"}
    answer = _ask_mlflow(settings, "model-versions/search", asked)
    answer.raise_for_status()
    return [
        ModelVersion(
            int(each["version"]),
            each.get("run_id", ""),
            each["current_stage"],
            {tag["key"]: tag.get("value", "") for tag in each.get("tags", [])},
        )
        for each in answer.json().get("model_versions", [])
    ]


def registry_oddities(settings: Settings, versions: Iterable[ModelVersion]) -> list[Oddity]:
    """Return the inconsistencies of the model registry: stage, alias and tags of Production.

    Raises:
        requests.RequestException: MLflow does not answer.
        psycopg.Error: the database cannot be reached.
    """
    answer = _ask_mlflow(settings, "registered-models/get", {"name": MODEL_NAME})
    if answer.status_code == requests.codes.not_found:
        return []
    answer.raise_for_status()
    found = answer.json()["registered_model"].get("aliases", [])
    aliases = {each["alias"]: int(each["version"]) for each in found}
    return oddities(versions, aliases, _feature_services(settings))


def _ask_mlflow(settings: Settings, what: str, asked: Mapping[str, str]) -> requests.Response:
    return session().get(f"{settings.mlflow_url}/api/2.0/mlflow/{what}", params=asked, timeout=10)


def _feature_services(settings: Settings) -> list[str] | None:
    """Return the names of the feature services, None if Feast has no registry yet."""
    with connect(environment(settings)["CHURN_DATABASE_URL"]) as connection:
        try:
            return [name for (name,) in connection.execute(statement("status/feature_services"))]
        except psycopg.errors.UndefinedTable:
            return None


def production_version(settings: Settings) -> ModelVersion | None:
    """Return the version in stage Production, of several the one that is served, None if there is none.

    Raises:
        requests.RequestException: MLflow does not answer.
    """
    return production_among(registered_versions(settings))


def production_among(versions: Iterable[ModelVersion]) -> ModelVersion | None:
    """Return the version in stage Production, of several the one that is served, None if there is none."""
    return next(reversed(in_production(versions)), None)


def find_verdict(settings: Settings, production: ModelVersion | None) -> Standing | None:
    """Return the verdict on the version in Production, None if it has none.

    Raises:
        psycopg.Error: the database cannot be reached, or was never migrated.
    """
    with connect(environment(settings)["CHURN_DATABASE_URL"]) as connection:
        return verdict_on(connection, production)


def say_verdict(settings: Settings) -> str:
    """Return the verdict on the version in Production and what to do about it, or why it cannot be read."""
    try:
        production = production_version(settings)
        found = find_verdict(settings, production)
    except (requests.RequestException, psycopg.Error) as error:
        return f"the verdict on Production cannot be read: {error}"
    said = f"verdict on Production: {verdict_in_words(production, found)}"
    return f"{said}\nWhat to do: {found.advice}" if found and found.advice else said
