"""Benchmarks in Postgres."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import JsonValue, TypeAdapter
from sqlalchemy import Connection

from operators.benchmark.checks import Check
from operators.benchmark.environment import Machine
from operators.benchmark.figures import Figure, Timing
from operators.clean_text import storable, storable_json
from operators.database import Database, transaction
from operators.queries import query, query_text
from stage_contract.vocabulary import Stage, Variant


class BenchmarkOutcome(StrEnum):
    """How a benchmark ended. `regressed`: slower than its baseline by more than the spread."""

    RUNNING = "running"
    DONE = "done"
    REGRESSED = "regressed"


class VariantOutcome(StrEnum):
    """What came of a variant. `wrong`: measured, and its outputs differ from the reference's by too much."""

    MEASURED = "measured"
    WRONG = "wrong"
    FAILED = "failed"


@dataclass(frozen=True)
class Medium:
    """A file that was processed. `duration_s` is none until the probe has told it."""

    asset_id: str
    source: str
    duration_s: float | None = None


@dataclass(frozen=True)
class Build:
    """How a variant ran a stage. `models` are names; `device` is `cpu` or a GPU's UUID; `parameters` differ from
    production's."""

    stage: Stage
    build: Variant
    compute_type: str
    batch_size: int
    device: str
    image: str
    image_digest: str
    models: tuple[str, ...]
    parameters: dict[str, JsonValue] = field(default_factory=dict)

    @property
    def told_parameters(self) -> str:
        """Those that are not production's, as `name value`."""
        return ", ".join(f"{name} {value}" for name, value in self.parameters.items())


@dataclass(frozen=True)
class VariantEnd:
    """A variant, and what came of it."""

    name: str
    outcome: VariantOutcome
    message: str
    builds: tuple[Build, ...]


@dataclass(frozen=True)
class Header:
    """A benchmark without its figures."""

    benchmark_id: int
    dag_id: str
    run_id: str
    name: str
    repeats: int
    media: tuple[Medium, ...]
    machine: Machine
    started_at: datetime
    finished_at: datetime | None
    outcome: BenchmarkOutcome
    message: str
    baseline_id: int | None
    marked_at: datetime | None
    marked_by: str | None

    @property
    def media_s(self) -> float:
        """Length of all media together."""
        return sum(one.duration_s or 0.0 for one in self.media)


@dataclass(frozen=True)
class Start:
    """A benchmark as it begins."""

    dag_id: str
    run_id: str
    name: str
    repeats: int
    media: tuple[Medium, ...]
    machine: Machine
    started_at: datetime
    baseline_id: int | None


@dataclass(frozen=True)
class Measured:
    """All that a benchmark found. Variants are named by their place."""

    variants: tuple[VariantEnd, ...]
    timings: tuple[Timing, ...]
    figures: tuple[Figure, ...]
    checks: tuple[Check, ...]


_MEDIA = TypeAdapter(tuple[Medium, ...])
_MACHINE = TypeAdapter(Machine)
_BUILDS = TypeAdapter(tuple[Build, ...])


def begin(database: Database, start: Start) -> int:
    """Record that a benchmark begins. Returns its number."""
    row = {
        **{name: getattr(start, name) for name in ("dag_id", "run_id", "repeats", "started_at", "baseline_id")},
        "name": storable(start.name),
        "media": _json(start.media),
        "machine": _json(asdict(start.machine)),
    }
    with transaction(database) as connection:
        benchmark_id: int = connection.execute(query("begin_benchmark"), row).scalar_one()
        connection.execute(query("forget_benchmark_variants"), {"benchmark_id": benchmark_id})
    return benchmark_id


def finish(
    database: Database,
    benchmark_id: int,
    finished_at: datetime,
    outcome: BenchmarkOutcome,
    message: str,
    media: Sequence[Medium],
    measured: Measured,
) -> None:
    """Record all that was found, in place of what an earlier try recorded."""
    with transaction(database) as connection:
        connection.execute(query("forget_benchmark_variants"), {"benchmark_id": benchmark_id})
        for place, variant in enumerate(measured.variants):
            row = {
                "benchmark_id": benchmark_id,
                "variant_index": place,
                "name": variant.name,
                "outcome": variant.outcome,
                "message": storable(variant.message),
                "builds": _json(variant.builds),
            }
            connection.execute(query("add_benchmark_variant"), row)
        _copy_timings(connection, benchmark_id, measured.timings)
        _add(
            connection, "add_benchmark_figure", (_figure_row(benchmark_id, *one) for one in enumerate(measured.figures))
        )
        _add(connection, "add_benchmark_check", (_check_row(benchmark_id, one) for one in measured.checks))
        row = {
            "benchmark_id": benchmark_id,
            "finished_at": finished_at,
            "outcome": outcome,
            "message": storable(message),
            "media": _json(media),
        }
        connection.execute(query("finish_benchmark"), row)


def find(database: Database, benchmark_id: int) -> Header | None:
    """A benchmark by its number."""
    with transaction(database) as connection:
        row = connection.execute(query("find_benchmark"), {"benchmark_id": benchmark_id}).first()
    return read_header(row) if row else None


def find_of_run(database: Database, dag_id: str, run_id: str) -> int | None:
    """The number of a run's benchmark."""
    with transaction(database) as connection:
        row = {"dag_id": dag_id, "run_id": run_id}
        found: int | None = connection.execute(query("find_benchmark_of_run"), row).scalar()
    return found


def find_baseline(database: Database, name: str | None, dag_id: str, run_id: str) -> Header | None:
    """The last benchmark of this name that ended, or the marked one, as the baseline of a run."""
    with transaction(database) as connection:
        row = {"name": name, "dag_id": dag_id, "run_id": run_id}
        found = connection.execute(query("find_baseline"), row).scalar()
        return find(connection, found) if found is not None else None


def read(database: Database, benchmark_id: int) -> Measured:
    """All that a benchmark found; nothing before it has ended."""
    with transaction(database) as connection:
        found = read_summary(connection, benchmark_id)
        timings = connection.execute(query("list_benchmark_timings"), {"benchmark_id": benchmark_id}).all()
    return replace(
        found,
        timings=tuple(
            Timing(
                *(one.variant_index, one.round, Stage(one.stage), one.phase, one.asset_id, one.seconds),
                *(one.peak_rss_mib, one.peak_vram_mib),
            )
            for one in timings
        ),
    )


def read_summary(database: Database, benchmark_id: int) -> Measured:
    """All that a benchmark found but its raw rows, which may be thousands."""
    asked = {"benchmark_id": benchmark_id}
    with transaction(database) as connection:
        variants = connection.execute(query("list_benchmark_variants"), asked).all()
        checks = connection.execute(query("list_benchmark_checks"), asked).all()
        figures = read_figures(connection, benchmark_id)
    return Measured(
        variants=tuple(
            VariantEnd(one.name, VariantOutcome(one.outcome), one.message, _BUILDS.validate_python(one.builds))
            for one in variants
        ),
        timings=(),
        figures=figures,
        checks=tuple(
            Check(
                *(one.variant_index, Stage(one.stage), one.asset_id, one.name, one.value, one.tolerance),
                *(one.is_passed, one.message),
            )
            for one in checks
        ),
    )


def read_names(database: Database, benchmark_id: int) -> dict[int, str]:
    """A benchmark's variants by their place."""
    with transaction(database) as connection:
        found = connection.execute(query("list_benchmark_variants"), {"benchmark_id": benchmark_id})
        return {one.variant_index: one.name for one in found}


def read_figures(database: Database, benchmark_id: int) -> tuple[Figure, ...]:
    """A benchmark's figures, in the order in which they are shown."""
    with transaction(database) as connection:
        found = connection.execute(query("list_benchmark_figures"), {"benchmark_id": benchmark_id})
        return tuple(
            Figure(one.variant_index, Stage(one.stage), one.phase, one.n, one.median_s, one.q1_s, one.q3_s)
            for one in found
        )


def mark(database: Database, benchmark_id: int, marked_at: datetime, marked_by: str) -> str | None:
    """Make a benchmark the baseline of those that name none, in place of the one before.

    Returns:
        Its name; none when there is no such benchmark, or it has not ended.
    """
    row = {"benchmark_id": benchmark_id, "marked_at": marked_at, "marked_by": storable(marked_by)}
    with transaction(database) as connection:
        found = find(connection, benchmark_id)
        if found is None or found.finished_at is None:
            return None
        connection.execute(query("unmark_benchmarks"))
        name: str | None = connection.execute(query("mark_benchmark"), row).scalar()
    return name


def unmark(database: Database) -> None:
    """Hold benchmarks that name no baseline against nothing."""
    with transaction(database) as connection:
        connection.execute(query("unmark_benchmarks"))


def read_header(row: Any) -> Header:
    """A row of `benchmark`."""
    return Header(
        benchmark_id=row.benchmark_id,
        dag_id=row.dag_id,
        run_id=row.run_id,
        name=row.name,
        repeats=row.repeats,
        media=_MEDIA.validate_python(row.media),
        machine=_MACHINE.validate_python(row.machine),
        started_at=row.started_at,
        finished_at=row.finished_at,
        outcome=BenchmarkOutcome(row.outcome),
        message=row.message,
        baseline_id=row.baseline_id,
        marked_at=row.marked_at,
        marked_by=row.marked_by,
    )


def _json(value: Any) -> str:
    plain = [asdict(one) for one in value] if isinstance(value, (tuple, list)) else value
    return json.dumps(storable_json(plain))


def _add(connection: Connection, name: str, rows: Iterable[dict[str, Any]]) -> None:
    every = list(rows)
    if every:
        connection.execute(query(name), every)


def _figure_row(benchmark_id: int, position: int, one: Figure) -> dict[str, Any]:
    row = asdict(one)
    return {**row, "variant_index": row.pop("variant"), "position": position, "benchmark_id": benchmark_id}


def _check_row(benchmark_id: int, one: Check) -> dict[str, Any]:
    row = asdict(one)
    moved = {"variant_index": row.pop("variant"), "tolerance": row.pop("limit"), "benchmark_id": benchmark_id}
    return {**row, **moved, "message": storable(one.message)}


def _copy_timings(connection: Connection, benchmark_id: int, timings: Sequence[Timing]) -> None:
    driver_connection = connection.connection.driver_connection
    if driver_connection is None:
        raise ValueError("a connection must be open to copy into it")
    with driver_connection.cursor() as cursor, cursor.copy(query_text("copy_benchmark_timings")) as copy:
        for one in timings:
            copy.write_row(
                (
                    *(benchmark_id, one.variant, one.round, one.stage, one.phase, one.asset_id, one.seconds),
                    *(one.peak_rss_mib, one.peak_vram_mib),
                )
            )
