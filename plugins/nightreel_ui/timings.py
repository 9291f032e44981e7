"""Where the time of runs went: a list of runs, one run, one task, and all over some nights."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import groupby
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import HTMLResponse

from nightreel_ui.access import MAY_SEE
from nightreel_ui.database import MediaDatabase
from nightreel_ui.links import airflow_base
from nightreel_ui.page import page, zone
from nightreel_ui.paging import ROWS, PageNumber, cut, offset
from nightreel_ui.timing_charts import chart_nights, draw_stages
from operators.timings import RunOutcome
from operators.views.timings import (
    MOST_LANES,
    MOST_SERIES,
    TASK_ATTEMPTS,
    RunFilter,
    Scope,
    read_dags,
    read_phases,
    read_runs,
    read_series,
    read_slowest,
    read_stage_nights,
    read_task_attempts,
    read_task_phases,
    read_timeline,
)

RUNS = 25
USUAL_NIGHTS = 30
MOST_NIGHTS = 92
NIGHT_BEGINS = time(12)

PATH = "/timings"

router = APIRouter(prefix=PATH)

MAY_SEE_RUN = Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE))
"""Of a page about the DAG that its path names."""

# A form sends what is left empty as an empty string.
Text = Annotated[str, Query()]
From = Annotated[str, Query(alias="from")]
To = Annotated[str, Query(alias="to")]


@dataclass(frozen=True)
class Nights:
    """From the `first` to the `last`, each beginning at noon. `is_cut` when more were asked for than a page reads."""

    first: date
    last: date
    is_cut: bool

    def span(self, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """Their half-open interval."""
        until = datetime.combine(self.last + timedelta(days=1), NIGHT_BEGINS, zone)
        return datetime.combine(self.first, NIGHT_BEGINS, zone), until


@router.get("", response_class=HTMLResponse, dependencies=[MAY_SEE])
def list_runs(
    request: Request,
    database: MediaDatabase,
    dag_id: Text = "",
    outcome: Text = "",
    first: From = "",
    last: To = "",
    number: PageNumber = 1,
) -> HTMLResponse:
    """Recent runs."""
    since, until = _day(first, "from"), _day(last, "to")
    wanted = RunFilter(
        dag_id=dag_id or None,
        outcome=outcome or None,
        since=datetime.combine(since, time(), zone()) if since else None,
        until=datetime.combine(until + timedelta(days=1), time(), zone()) if until else None,
    )
    runs, place = cut(read_runs(database, wanted, offset(number, RUNS), RUNS + 1), number, RUNS)
    asked = {"dag_id": dag_id, "outcome": outcome, "from": first, "to": last}
    context = {
        "runs": runs,
        "place": place,
        "asked": asked,
        "is_filtered": any(asked.values()),
        "dags": read_dags(database),
        "outcomes": list(RunOutcome),
        "airflow": airflow_base(request),
    }
    return page(request, "timings.html", context)


@router.get("/nights", response_class=HTMLResponse, dependencies=[MAY_SEE])
def show_nights(
    request: Request, database: MediaDatabase, first: From = "", last: To = "", slowest: Text = ""
) -> HTMLResponse:
    """All runs of some nights together. `slowest` is by `ratio` or by work."""
    nights = _nights(_day(first, "from"), _day(last, "to"))
    span = nights.span(zone())
    series = read_series(database, nights.first, nights.last)
    by_stage = read_stage_nights(database, *span, zone())
    context = {
        "nights": nights,
        "most_nights": MOST_NIGHTS,
        "asked": {"from": nights.first.isoformat(), "to": nights.last.isoformat()},
        "parts": [(part, list(alike)) for part, alike in groupby(series, key=lambda one: one.part)],
        "most_series": MOST_SERIES,
        "is_all_series": len(series) < MOST_SERIES,
        "chart": chart_nights(by_stage, nights.first, nights.last),
        "stages": draw_stages(by_stage, nights.first, nights.last),
        "by_ratio": slowest == "ratio",
        "slowest": read_slowest(database, *span, by_ratio=slowest == "ratio"),
    }
    return page(request, "timings_nights.html", context)


@router.get("/run/{dag_id}", response_class=HTMLResponse, dependencies=[MAY_SEE_RUN])
def show_run(
    request: Request, database: MediaDatabase, dag_id: str, run_id: str, nav: Text = "", number: PageNumber = 1
) -> HTMLResponse:
    """One run. `nav` is set by our own links: then the page is not inside Airflow's own of the run."""
    query = {"run_id": run_id, "nav": nav} if nav else {"run_id": run_id}
    return _show_scope(request, database, Scope(dag_id, run_id), query, number)


@router.get("/task_instance/{dag_id}", response_class=HTMLResponse, dependencies=[MAY_SEE_RUN])
def show_task_instance(
    request: Request,
    database: MediaDatabase,
    dag_id: str,
    run_id: str,
    task_id: str,
    map_index: Text = "-1",
    number: PageNumber = 1,
) -> HTMLResponse:
    """The tries of one task of a run. Of a task that is not mapped, Airflow leaves `map_index` as the link has it."""
    index = int(map_index) if map_index.isdecimal() else -1
    query = {"run_id": run_id, "task_id": task_id, "map_index": str(index)}
    return _show_scope(request, database, Scope(dag_id, run_id, task_id, index), query, number)


@router.get("/task/{dag_id}", response_class=HTMLResponse, dependencies=[MAY_SEE_RUN])
def show_task(
    request: Request, database: MediaDatabase, dag_id: str, task_id: str, number: PageNumber = 1
) -> HTMLResponse:
    """A task over the last runs."""
    attempts, place = cut(read_task_attempts(database, dag_id, task_id, offset(number, RUNS), RUNS + 1), number, RUNS)
    context = {
        "embedded": True,
        "dag_id": dag_id,
        "task_id": task_id,
        "attempts": attempts,
        "place": place,
        "last_attempts": TASK_ATTEMPTS,
        "phases": read_task_phases(database, dag_id, task_id),
        "airflow": airflow_base(request),
    }
    return page(request, "timings_task.html", context)


def _show_scope(
    request: Request, database: MediaDatabase, scope: Scope, query: dict[str, str], number: int
) -> HTMLResponse:
    phases, place = cut(read_phases(database, scope, offset(number), ROWS + 1), number)
    runs = read_runs(database, RunFilter(dag_id=scope.dag_id, run_id=scope.run_id))
    context: dict[str, Any] = {
        "embedded": "nav" not in query,
        "scope": scope,
        "query": query,
        "run": runs[0] if runs else None,
        "timeline": read_timeline(database, scope),
        "most_lanes": MOST_LANES,
        "phases": phases,
        "place": place,
        "rows": ROWS,
        "airflow": airflow_base(request),
    }
    return page(request, "timings_run.html", context)


def _nights(first: date | None, last: date | None) -> Nights:
    """Those asked for; else the last ones, this one among them."""
    latest = last or (datetime.now(zone()) - timedelta(hours=NIGHT_BEGINS.hour)).date()
    earliest = first or latest - timedelta(days=USUAL_NIGHTS - 1)
    if earliest > latest:
        raise HTTPException(422, f"the first night must not be after the last: {earliest} is after {latest}")
    cut_to = max(earliest, latest - timedelta(days=MOST_NIGHTS - 1))
    return Nights(cut_to, latest, cut_to != earliest)


def _day(text: str, name: str) -> date | None:
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise HTTPException(422, f"{name} must be a day as 2026-11-21: found {text!r}") from None
    # The clock's arithmetic ends at the ends of the calendar.
    if not 1970 <= day.year <= 9000:
        raise HTTPException(422, f"{name} must be a day since 1970: found {text!r}")
    return day
