"""Who may see customers by name: whoever may trigger churn_score, as Airflow's authentication manager decides."""

from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import Depends, HTTPException

DAG = "churn_score"


def may_see_customers(user: GetUserDep) -> bool:
    """Tell whether the signed-in user may see customers."""
    return get_auth_manager().is_authorized_dag(
        method="POST", access_entity=DagAccessEntity.RUN, details=DagDetails(id=DAG), user=user
    )


MaySeeCustomers = Annotated[bool, Depends(may_see_customers)]


def requires_customers(allowed: MaySeeCustomers) -> None:
    """Refuse a user who may not see customers.

    Raises:
        HTTPException: 403.
    """
    if not allowed:
        raise HTTPException(403, f"customers are shown to users who may trigger the DAG {DAG}")
