"""The pages as one application. Imported by the API server alone."""

from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, FastAPI

from nightreel_ui import outputs, page


def build() -> FastAPI:
    """Every route needs a person whom Airflow knows; each room adds what that person must be allowed."""
    app = FastAPI(title="Nightreel", dependencies=[Depends(get_user)], docs_url=None, redoc_url=None, openapi_url=None)
    for room in (page, outputs):
        app.include_router(room.router)
    return app
