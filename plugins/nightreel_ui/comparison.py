"""The pages that hold the CPU against the GPU: ordinary runs, benchmarks, and what the figures advise."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from nightreel_ui.access import MAY_SEE, Person, acts_as, may_start
from nightreel_ui.database import MediaDatabase
from nightreel_ui.devices import ask_health
from nightreel_ui.links import airflow_base
from nightreel_ui.notice import act, find_notice, forget_notice
from nightreel_ui.page import page
from nightreel_ui.paging import ROWS, PageNumber, cut, offset
from operators.advice import advise
from operators.benchmark import store
from operators.benchmark.environment import cpu_model
from operators.benchmark.figures import TOTAL, TOTAL_NAME, TOTAL_RULE
from operators.benchmark.plan import BENCHMARK_DAG_ID
from operators.benchmark.report import FILES, MARKDOWN_FILE, REGRESSION_RULE, stage_tables, worst
from operators.benchmark.store import Header
from operators.errors import ChoiceInvalid
from operators.views.comparison import benchmarked_stages, compare_devices, list_benchmarks, ordinary_work
from stage_contract.gpu_health import HostHealth

PATH = "/comparison"
LATEST = 10
"""Benchmarks that the page itself shows; the others have a page of their own."""

router = APIRouter(prefix=PATH, dependencies=[MAY_SEE])


@router.get("", response_class=HTMLResponse)
def show_comparison(
    request: Request, database: MediaDatabase, health: Annotated[HostHealth, Depends(ask_health)]
) -> HTMLResponse:
    """Ordinary runs by stage and phase, what they advise, and the latest benchmarks."""
    work = ordinary_work(database)
    found = list_benchmarks(database, LATEST + 1)
    context = {
        "stages": compare_devices(work),
        "advice": advise(work, benchmarked_stages(database)),
        "benchmarks": found[:LATEST],
        "has_more": len(found) > LATEST,
        "cpu": cpu_model(Path("/proc/cpuinfo").read_text()),
        "gpu_names": {device.device_uuid: device.name for device in health.devices},
        "airflow": airflow_base(request),
        "dag_id": BENCHMARK_DAG_ID,
    }
    return page(request, "comparison.html", context)


@router.get("/benchmarks", response_class=HTMLResponse)
def show_benchmarks(request: Request, database: MediaDatabase, number: PageNumber = 1) -> HTMLResponse:
    """All benchmarks, in pages."""
    shown, place = cut(list_benchmarks(database, ROWS + 1, offset(number)), number)
    return page(request, "comparison_benchmarks.html", {"benchmarks": shown, "place": place})


@router.get("/benchmarks/{benchmark_id}", response_class=HTMLResponse)
def show_benchmark(request: Request, person: Person, database: MediaDatabase, benchmark_id: int) -> HTMLResponse:
    """One benchmark: where, of what, what came of each variant, times, checks."""
    header = _found(database, benchmark_id)
    measured = store.read_summary(database, benchmark_id)
    context = {
        "header": header,
        "measured": measured,
        "tables": stage_tables(measured),
        "checks": worst(measured.checks),
        "sources": {one.asset_id: one.source for one in header.media},
        "baseline": store.find(database, header.baseline_id) if header.baseline_id is not None else None,
        "files": list(FILES),
        "rule": REGRESSION_RULE,
        "total": TOTAL,
        "total_name": TOTAL_NAME,
        "total_rule": TOTAL_RULE,
        "may_mark": may_start(person, BENCHMARK_DAG_ID),
        "notice": find_notice(request),
        "airflow": airflow_base(request),
    }
    shown = page(request, "comparison_benchmark.html", context)
    forget_notice(shown)
    return shown


@router.get("/benchmarks/{benchmark_id}/files/{name}")
def download(database: MediaDatabase, benchmark_id: int, name: str) -> Response:
    """The benchmark as Markdown or CSV, written from the database."""
    header = _found(database, benchmark_id)
    if name not in FILES:
        raise HTTPException(404, f"a benchmark's files are {', '.join(FILES)}: {name!r} is none")
    kind = "text/markdown" if name == MARKDOWN_FILE else "text/csv"
    headers = {
        "Content-Disposition": f'attachment; filename="benchmark-{benchmark_id}-{name}"',
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox",
    }
    text = FILES[name](header, store.read(database, benchmark_id))
    return Response(text, media_type=f"{kind}; charset=utf-8", headers=headers)


@router.post("/benchmarks/{benchmark_id}/baseline", dependencies=acts_as(BENCHMARK_DAG_ID))
def change_baseline(
    request: Request,
    person: Person,
    database: MediaDatabase,
    benchmark_id: int,
    be: Annotated[Literal["marked", "unmarked"], Query()] = "marked",
) -> RedirectResponse:
    """Make the benchmark the baseline of those that name none, or no benchmark."""

    def change(_reason: str) -> str:
        if be == "unmarked":
            store.unmark(database)
            return "No benchmark is the baseline now."
        name = store.mark(database, benchmark_id, datetime.now(UTC), person.get_name())
        if name is None:
            raise ChoiceInvalid("a baseline must be a benchmark that has ended: this one has not")
        return f"{name} is the baseline of benchmarks that name none."

    return act(request, f"{PATH}/benchmarks/{benchmark_id}", "", change)


def _found(database: MediaDatabase, benchmark_id: int) -> Header:
    # Numbers in the database are of 64 bits.
    header = store.find(database, benchmark_id) if abs(benchmark_id) < 2**63 else None
    if header is None:
        raise HTTPException(404, f"there is no benchmark {benchmark_id}; the list of benchmarks has those there are")
    return header
