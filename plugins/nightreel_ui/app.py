"""The pages as one application. Imported by the API server alone."""

from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from nightreel_ui import archive, backfill, comparison, devices, outputs, page, problems, timings


def build() -> FastAPI:
    """Every route needs a person whom Airflow knows; each room adds what that person must be allowed."""
    app = FastAPI(title="Nightreel", dependencies=[Depends(get_user)], docs_url=None, redoc_url=None, openapi_url=None)
    for room in (page, outputs, timings, devices, backfill, comparison, archive):
        app.include_router(room.router)
    app.add_exception_handler(HTTPException, problems.refused)
    app.add_exception_handler(RequestValidationError, problems.invalid)
    app.add_exception_handler(OperationalError, problems.away)
    return app
