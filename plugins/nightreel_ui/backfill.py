"""The pages of backfills: the night under way, nights that are over, what failed, and pausing."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from nightreel_ui.access import MAY_SEE, Person, acts_as, may_start
from nightreel_ui.database import MediaDatabase
from nightreel_ui.links import airflow_base
from nightreel_ui.notice import LONGEST_REASON, act, find_notice, forget_notice
from nightreel_ui.page import page, zone
from nightreel_ui.paging import ROWS, PageNumber, cut, offset
from operators.backfill.night_settings import NightSettings
from operators.backfill.pause import PauseAction, switch_backfills
from operators.backfill.store import BackfillMissing
from operators.errors import NightreelError
from operators.views import nights

NIGHTS = 20
"""Nights on a page."""

PAUSES = 5
"""Pauses that the page shows, the last ones."""

PATH = "/backfill"
KINDS = {"all": None, "parked": True, "waiting": False}
"""Which failures are shown: by the word in the address, whether they are parked."""

router = APIRouter(prefix=PATH, dependencies=[MAY_SEE])


def night_settings() -> NightSettings:
    """The nights as they are set. What is wrong with the settings is said to whoever looks."""
    try:
        return NightSettings.from_environment()
    except NightreelError as error:
        raise HTTPException(500, str(error)) from error


Settings = Annotated[NightSettings, Depends(night_settings)]


@router.get("", response_class=HTMLResponse)
def show_backfills(
    request: Request, person: Person, database: MediaDatabase, settings: Settings, number: PageNumber = 1
) -> HTMLResponse:
    """What is under way, when the next night begins, pauses, and nights that are over, in pages."""
    now = datetime.now(UTC)
    past, place = cut(nights.past_nights(database, NIGHTS + 1, offset(number, NIGHTS)), number, NIGHTS)
    context = {
        "now": now,
        "nights": nights.open_nights(database, now, zone()),
        "next": nights.next_night(settings, now),
        "pause": nights.pause_in_force(database),
        "pauses": nights.last_pauses(database, PAUSES),
        "failures": nights.count_failures(database),
        "past": past,
        "place": place,
        "may_pause": may_start(person, "pause_backfill"),
        "longest_reason": LONGEST_REASON,
        "notice": find_notice(request),
        "airflow": airflow_base(request),
    }
    shown = page(request, "backfill.html", context)
    forget_notice(shown)
    return shown


@router.get("/nights/{backfill_id}", response_class=HTMLResponse)
def show_night(
    request: Request,
    database: MediaDatabase,
    backfill_id: Annotated[int, Path(ge=1, lt=2**31)],
    number: PageNumber = 1,
) -> HTMLResponse:
    """One backfill: its report, or how it stands, and its runs."""
    now = datetime.now(UTC)
    try:
        backfill = nights.find_night(database, backfill_id)
    except BackfillMissing as error:
        raise HTTPException(404, str(error)) from error
    is_over = backfill.report is not None
    runs, place = cut(nights.night_runs(database, backfill_id, ROWS + 1, offset(number)), number)
    context = {
        "now": now,
        "backfill": backfill,
        "report": nights.told_report(backfill, zone()),
        "night": None if is_over else nights.read_open_night(database, backfill_id, now, zone()),
        "runs": runs,
        "place": place,
        "airflow": airflow_base(request),
    }
    return page(request, "backfill_night.html", context)


@router.get("/failures", response_class=HTMLResponse)
def show_failures(
    request: Request, database: MediaDatabase, kind: Annotated[str, Query()] = "all", number: PageNumber = 1
) -> HTMLResponse:
    """Assets that failed, with the reasons, in pages."""
    if kind not in KINDS:
        raise HTTPException(404, f"{kind!r} is no kind of failure; there are {', '.join(KINDS)}")
    found, place = cut(nights.failures(database, KINDS[kind], ROWS + 1, offset(number)), number)
    context = {
        "now": datetime.now(UTC),
        "kind": kind,
        "kinds": list(KINDS),
        "counts": nights.count_failures(database),
        "failures": found,
        "place": place,
    }
    return page(request, "backfill_failures.html", context)


@router.post("/pause", dependencies=acts_as("pause_backfill"))
def pause(
    request: Request, person: Person, database: MediaDatabase, reason: Annotated[str, Form()] = ""
) -> RedirectResponse:
    """Hold all backfills up."""
    return _switch(request, person, database, PauseAction.PAUSE, reason)


@router.post("/resume", dependencies=acts_as("pause_backfill"))
def resume(request: Request, person: Person, database: MediaDatabase) -> RedirectResponse:
    """Let them go on."""
    return _switch(request, person, database, PauseAction.RESUME, "")


def _switch(
    request: Request, person: Person, database: MediaDatabase, action: PauseAction, reason: str
) -> RedirectResponse:
    who = person.get_name()
    return act(request, PATH, reason, lambda why: switch_backfills(database, action, who, why, zone()))
