"""What a person sees when a page cannot be shown: the same look as all pages, and what can be done."""

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import Request
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from nightreel_ui.page import page

TITLES = {
    401: "You are not logged in",
    403: "You may not do this",
    404: "There is nothing here",
    422: "The address is not complete",
    503: "The media database does not answer",
}
ADVICE = {
    401: "Log in to Airflow, then open this page again.",
    403: "Ask whoever gave you your Airflow account for the right to do it.",
    503: "Try again in a moment. `make status` says which service is not well; the API server's log has the error.",
}

log = logging.getLogger(__name__)


async def refused(request: Request, error: Exception) -> Response:
    """Of an `HTTPException`: a page for a browser, and JSON for a program."""
    if not isinstance(error, HTTPException):
        raise error
    if not _is_browser(request):
        return await http_exception_handler(request, error)
    return _problem(request, error.status_code, str(error.detail))


async def invalid(request: Request, error: Exception) -> Response:
    """Of a `RequestValidationError`: which part of the address or form is not right."""
    if not isinstance(error, RequestValidationError):
        raise error
    if not _is_browser(request):
        return await request_validation_exception_handler(request, error)
    return _problem(request, 422, _told(error.errors()))


async def away(request: Request, error: Exception) -> Response:
    """Of an error of the database's connection."""
    log.error("%s could not be shown: the media database failed", request.url.path, exc_info=error)
    return await refused(request, HTTPException(503, TITLES[503]))


def _is_browser(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _problem(request: Request, status: int, message: str) -> Response:
    title = TITLES.get(status, "That did not work")
    context = {"title": title, "message": "" if message == title else message, "advice": ADVICE.get(status, "")}
    return page(request, "problem.html", context, status)


def _told(errors: Sequence[Any]) -> str:
    return "; ".join(f"{error['loc'][-1]}: {error['msg']}" for error in errors)
