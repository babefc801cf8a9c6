"""Links in Airflow's navigation, under Browse, to the other two addresses of the stack: MLflow and the serving API."""

import os

from airflow.plugins_manager import AirflowPlugin

# Opened in a tab of their own; an address that this Airflow was not told of gets no link.
ADDRESSES = {"MLflow": (os.environ.get("MLFLOW_URL"), ""), "Churn API": (os.environ.get("SERVING_URL"), "/docs")}


class ChurnLinks(AirflowPlugin):
    """The links."""

    name = "churn_links"
    external_views = [  # noqa: RUF012 — Airflow declares it so
        {"name": title, "href": address + page, "destination": "nav", "category": "browse"}
        for title, (address, page) in ADDRESSES.items()
        if address
    ]
