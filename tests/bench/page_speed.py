"""How long every page takes with the timings and results of many nights, and by which plans its queries are answered.

    PYTHONPATH=images/base:plugins python -m tests.bench.page_speed --write docs/benchmarks.md

fills a database of its own with 10,000 processed assets, 1,000,000 phases, 10,000 assets with results, 60 nights and
20,000 leases, asks for every page 30 times through the application itself, and prints p50 and p95. It fails when a
page's p95 reaches a second, or when a query reads a table of 50,000 rows or more from end to end. Needs Docker or
NIGHTREEL_TEST_DSN, for a Postgres.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from operators.migrate import migrate
from tests.bench.document import describe_machine, write_between_marks
from tests.bench.many_nights import fill_leases, fill_nights
from tests.bench.many_results import fill_results
from tests.bench.many_runs import Extent, fill_runs
from tests.bench.query_plans import LARGE_ROWS, explaining, full_scans, large_tables
from tests.postgres import made_database, serving

MARKS = "<!-- begin: page_speed -->", "<!-- end: page_speed -->"
REQUESTS = 30
WARM_UPS = 2
MOST_S = 1.0
DEVICES = ("GPU-00000000-1111-2222-3333-444455556666", "GPU-00000001-1111-2222-3333-444455556666")


@dataclass(frozen=True)
class Measured:
    """A page: how long each request took, how many queries it sends, and tables that these read from end to end."""

    name: str
    seconds: tuple[float, ...]
    queries: int
    full_scans: tuple[str, ...]

    @property
    def p95_s(self) -> float:
        """Of 30 requests the second slowest."""
        return sorted(self.seconds)[-1 - len(self.seconds) // 20]

    @property
    def is_good(self) -> bool:
        """Fast enough, by indexes."""
        return self.p95_s < MOST_S and not self.full_scans


def pages(database: Engine) -> dict[str, str]:
    """Addresses of every kind of page, by name: lists at their beginning and deep inside, frequent and rare words."""
    with database.connect() as connection:
        asset_id = connection.execute(text("select asset_id from transcript_segment limit 1")).scalar_one()
        timed_id = connection.execute(
            text("select asset_id from phase_timing where asset_id > '8' limit 1")
        ).scalar_one()
        run_id = connection.execute(text("select run_id from processing_run order by started_at limit 1")).scalar_one()
        night = connection.execute(text("select min(backfill_id) from backfill")).scalar_one()
    of_run, of_task = f"process_media?run_id={run_id}", "task_id=vision_analyze_cpu"
    return {
        "runs": "/timings",
        "runs, page 30": "/timings?page=30",
        "runs that failed": "/timings?outcome=failed",
        "across runs": "/timings/nights",
        "across runs, 60 nights": "/timings/nights?from=2026-09-22&to=2026-11-20",
        "a run": f"/timings/run/{of_run}",
        "a run, page 8 of its phases": f"/timings/run/{of_run}&page=8",
        "a task": f"/timings/task/process_media?{of_task}",
        "an attempt": f"/timings/task_instance/{of_run}&{of_task}&map_index=-1",
        "CPU and GPU": "/comparison",
        "devices": "/devices",
        "changes of devices": "/devices/history",
        "backfill": "/backfill",
        "a night": f"/backfill/nights/{night}",
        "what failed": "/backfill/failures",
        "archive, newest": "/archive",
        "search, a word in every eighth utterance": "/archive?q=word0",
        "search, a rare word": "/archive?q=word4321",
        "search, two words in speech": "/archive?q=word10+word20&in=speech",
        "search, page 20": "/archive?q=word0&page=20",
        "search, an object": "/archive?q=person&in=objects",
        "search, a name": "/archive?q=Word1&in=names",
        "search, one folder": "/archive?q=word3&folder=archive%2F2001",
        "an asset": f"/archive/asset/{asset_id}",
        "an asset that was only timed": f"/archive/asset/{timed_id}",
    }


def measure(client: TestClient, database: Engine, name: str, address: str, large: frozenset[str]) -> Measured:
    """Ask for a page.

    Raises:
        ValueError: it cannot be had.
    """
    with explaining(database) as plans:
        answer = client.get(address)
    if answer.status_code != 200:
        raise ValueError(f"every page must be there to be measured: {name} ({address}) answers {answer.status_code}")
    for _ in range(WARM_UPS):
        client.get(address)
    seconds = []
    for _ in range(REQUESTS):
        began_s = time.perf_counter()
        client.get(address)
        seconds.append(time.perf_counter() - began_s)
    scanned = {table for plan in plans if plan for table in full_scans(plan, large)}
    return Measured(name, tuple(seconds), len(plans), tuple(sorted(scanned)))


def table(measured: Sequence[Measured]) -> str:
    """As Markdown."""
    rows = [
        f"| {page.name} | {median(page.seconds) * 1000:.0f} | {page.p95_s * 1000:.0f} | {page.queries} | "
        f"{', '.join(page.full_scans) or 'none'} |"
        for page in measured
    ]
    return "\n".join(["| Page | p50, ms | p95, ms | queries | read from end to end |", "|---|---|---|---|---|", *rows])


def fill(database: Engine, scale: float) -> str:
    """Make the rows; returns what there is, in words. `scale` 1 is the whole of it."""
    extent = Extent(max(40, int(10_000 * scale)), max(10, int(Extent.runs * scale)))
    phases = fill_runs(database, extent)
    assets = max(20, int(10_000 * scale))
    fill_results(database, assets)
    fill_nights(database, nights=60)
    leases = fill_leases(database, DEVICES, max(100, int(20_000 * scale)))
    return (
        f"{extent.assets:,} assets in {extent.runs:,} runs of 60 nights with {phases:,} phases; {assets:,} more with "
        f"{assets * 200:,} utterances and {assets * 180:,} detections; {leases:,} leases"
    )


def visitor(url: str) -> TestClient:
    """A browser of an editor, at the application itself. Imports Airflow, which must find a home of its own."""
    settings = {
        "AIRFLOW_HOME": tempfile.mkdtemp(prefix="page-speed-"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
        "NIGHTREEL_DATABASE_URL": url,
        "NIGHTREEL_TIME_ZONE": "UTC",
        "NIGHTREEL_GPU_DEVICES": ",".join(DEVICES),
        "NIGHTREEL_GPU_VRAM_MIB": "24576,24576",
        "NIGHTREEL_GPU_AGENT_URL": "http://127.0.0.1:9",
    }
    os.environ |= settings
    from airflow.api_fastapi.app import create_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user
    from airflow.models.dag import DagModel

    from nightreel_ui import app

    # There are no teams: no database of Airflow's is asked for them.
    DagModel.get_team_name = lambda dag_id: None  # type: ignore[method-assign,assignment]
    create_auth_manager()
    built = app.build()
    built.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username="bench", role="user")
    return TestClient(built, follow_redirects=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print the table. Returns 1 when a page is too slow or reads a large table from end to end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rows to make (default 1)")
    parser.add_argument("--write", type=Path, help="Markdown file to write the table into, between its marks")
    arguments = parser.parse_args(argv)
    with serving(True) as server, made_database(server) as filled:
        migrate(filled)
        what = fill(filled, arguments.scale)
        large = large_tables(filled)
        measured = _measure_all(filled, large)
    head = f"{datetime.now(UTC):%Y-%m-%d}, {describe_machine(os.cpu_count() or 1)}. {what}. {REQUESTS} requests a page."
    counted = f"Tables of {LARGE_ROWS:,} rows or more: {', '.join(f'`{name}`' for name in sorted(large))}."
    told = f"{head}\n\n{table(measured)}\n\n{counted}"
    print(told)
    if arguments.write:
        write_between_marks(arguments.write, told, MARKS)
    return 0 if all(page.is_good for page in measured) else 1


def _measure_all(filled: Engine, large: frozenset[str]) -> list[Measured]:
    client = visitor(filled.url.render_as_string(hide_password=False))
    from nightreel_ui.database import media_database

    with client:
        return [measure(client, media_database(), name, address, large) for name, address in pages(filled).items()]


if __name__ == "__main__":
    sys.exit(main())
