"""Runs every query of the pages on timings on a filled database: how long it takes, and by which indexes."""

import time
from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, event, text

from nightreel_ui.paging import ROWS
from operators.views.timings import (
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

ZONE = ZoneInfo("Europe/Berlin")
TIMES = 5
MOST_S = 1.0
LARGE = {"phase_timing"}
"""Tables that no page may read from end to end."""


def explain_all(database: Engine, since: datetime, until: datetime, with_plans: bool = False) -> int:
    """Print each query's slowest of five, and the plans if wanted. Returns 1 when a promise is broken."""
    with database.connect() as connection:
        largest = connection.execute(
            text("select dag_id, run_id from phase_timing group by 1, 2 order by count(*) desc, 2 limit 1")
        ).one()
    run = Scope(*largest)
    task = Scope(*largest, "vision_analyze_cpu")
    reads: dict[str, Callable[[Engine | Connection], object]] = {
        "DAGs": read_dags,
        "runs": lambda at: read_runs(at, RunFilter(), 0, 26),
        "runs, page 50, failed": lambda at: read_runs(at, RunFilter(outcome="failed"), 25 * 49, 26),
        "percentiles, all nights": lambda at: read_series(at, since.date(), until.date()),
        "nights and throughput": lambda at: read_stage_nights(at, since, until, ZONE),
        "slowest by work": lambda at: read_slowest(at, since, until, False),
        "slowest by ratio": lambda at: read_slowest(at, since, until, True),
        "a run's timeline": lambda at: read_timeline(at, run),
        "a run's phases, page 5": lambda at: read_phases(at, run, 4 * ROWS, ROWS + 1),
        "a task instance": lambda at: read_timeline(at, task),
        "a task's attempts": lambda at: read_task_attempts(at, run.dag_id, "vision_analyze_cpu", 0, 26),
        "a task's phases": lambda at: read_task_phases(at, run.dag_id, "vision_analyze_cpu"),
    }
    broken = []
    print("| query | slowest of 5, ms |\n|---|---|")
    for name, read in reads.items():
        slowest_s = max(_timed(read, database) for _ in range(TIMES))
        print(f"| {name} | {slowest_s * 1000:.0f} |")
        if slowest_s >= MOST_S:
            broken.append(f"{name} takes {slowest_s:.1f} s")
        for plan in _plans(read, database):
            broken += [f"{name} reads all of {table}" for table in LARGE if f"Seq Scan on {table}" in plan]
            if with_plans:
                print(f"\n{name}\n\n{plan}\n")
    for line in broken:
        print(f"broken: {line}")
    return 1 if broken else 0


def _timed(read: Callable[[Engine | Connection], object], database: Engine) -> float:
    began_s = time.monotonic()
    read(database)
    return time.monotonic() - began_s


def _plans(read: Callable[[Engine | Connection], object], database: Engine) -> list[str]:
    """Of the queries that a read sends, with the same parameters."""
    sent: list[tuple[str, object]] = []
    with database.connect() as connection:
        event.listen(
            connection, "before_cursor_execute", lambda c, cursor, sql, values, context, many: sent.append((sql, values))
        )
        read(connection)
    plans = []
    with database.connect() as connection:
        for sql, values in sent:
            if sql.lstrip().startswith(("select", "with", "--")):
                explained = connection.exec_driver_sql(f"explain (analyze, costs off) {sql}", values)  # type: ignore[arg-type]
                plans.append("\n".join(str(row[0]) for row in explained))
    return plans
