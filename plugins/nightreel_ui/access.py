"""Who may see the pages, and who may act on them: whoever may see the pipeline's runs, and start the DAG that acts."""

from collections.abc import Callable
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from fastapi import Depends, HTTPException, Request

PIPELINE = "process_media"

MAY_SEE: Any = Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE, PIPELINE))
"""Of a router whose pages tell of runs, media and what was found in them."""

Person = Annotated[BaseUser, Depends(get_user)]


def may_start(user: BaseUser, dag_id: str) -> bool:
    """Whether a person may trigger a DAG: a page shows its buttons to those who may."""
    details = DagDetails(id=dag_id)
    return get_auth_manager().is_authorized_dag(
        method="POST", access_entity=DagAccessEntity.RUN, details=details, user=user
    )


def acts_as(dag_id: str) -> Any:
    """Of a route that does what `dag_id` does: for those who may trigger it, from a page of ours."""
    authorized: Callable[..., None] = requires_access_dag("POST", DagAccessEntity.RUN, dag_id)
    return [Depends(authorized), Depends(_from_our_page)]


def _from_our_page(request: Request) -> None:
    # The session is a cookie, which a browser also sends along with a form of somebody else's page.
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise HTTPException(403, "a change must be asked for on Nightreel's own page; open it in Airflow and try again")
