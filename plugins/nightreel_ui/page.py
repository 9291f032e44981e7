"""A page: its template with what all pages share, and headers that let it load nothing but our own files."""

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from fastapi.templating import Jinja2Templates

from nightreel_ui import formats
from operators.settings import required

HERE = Path(__file__).parent
STATIC = HERE / "static"

# Nothing from a file name or a model can run: there is no inline script or style, and no other host.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "media-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

SECTIONS = (
    ("/timings", "Phase timings"),
    ("/comparison", "CPU and GPU"),
    ("/devices", "Devices"),
    ("/backfill", "Backfill"),
    ("/archive", "Archive"),
)
"""The pages that a person finds from the navigation: path below the application, and name."""

router = APIRouter()
templates = Jinja2Templates(directory=HERE / "templates")
templates.env.filters |= formats.FILTERS
templates.env.trim_blocks = templates.env.lstrip_blocks = True


def page(request: Request, template: str, context: dict[str, Any], status: int = 200) -> HTMLResponse:
    """A template of ours, filled in. `base` is the path of the application, `section` the page's own."""
    base = request.scope.get("root_path", "")
    shared = {"base": base, "sections": SECTIONS, "section": request.url.path.removeprefix(base), "zone": zone()}
    return templates.TemplateResponse(request, template, shared | context, status_code=status, headers=HEADERS)


def zone() -> ZoneInfo:
    """The deployment's time zone, in which pages show instants."""
    return ZoneInfo(required("NIGHTREEL_TIME_ZONE"))


@router.get("/")
def front(request: Request) -> RedirectResponse:
    """The first section."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}{SECTIONS[0][0]}", status_code=303)


@router.get("/static/{name}")
def static(name: str) -> FileResponse:
    """A style sheet, script or icon of ours."""
    if name not in {file.name for file in STATIC.iterdir()}:
        raise HTTPException(404, "there is no such file")
    return FileResponse(STATIC / name, headers={"Cache-Control": "max-age=300", "X-Content-Type-Options": "nosniff"})
