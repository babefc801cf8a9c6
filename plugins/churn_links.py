"""Links to MLflow and the serving API in Airflow's navigation, under Browse."""

import os

from airflow.plugins_manager import AirflowPlugin

# Without its environment variable, an address gets no link.
ADDRESSES = {"MLflow": (os.environ.get("MLFLOW_URL"), ""), "Churn API": (os.environ.get("SERVING_URL"), "/docs")}


class ChurnLinks(AirflowPlugin):
    """The links."""

    name = "churn_links"
    external_views = [  # noqa: RUF012 — Airflow declares it so
        {"name": title, "href": address + page, "destination": "nav", "category": "browse"}
        for title, (address, page) in ADDRESSES.items()
        if address
    ]
