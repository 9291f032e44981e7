"""A benchmark as Markdown and CSV. Writes text; does no I/O."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from operators.benchmark.checks import TOLERANCES, Check
from operators.benchmark.figures import LEAST_SHARE, LEAST_SLOWER, TOTAL, TOTAL_NAME, TOTAL_RULE, Figure, speed_up
from operators.benchmark.store import Header, Measured, VariantEnd
from operators.clean_text import printable
from stage_contract.vocabulary import Stage
from stage_contract.workspace import write_durably

REGRESSION_RULE = (
    f"A regression: the median exceeds the baseline's by more than the spread (the larger interquartile range) and by "
    f"{LEAST_SLOWER:.0%} or more, of a total or of a phase that makes {LEAST_SHARE:.0%} of one."
)
MARKDOWN_FILE = "benchmark.md"
COMPARISON_FILE = "comparison.csv"
TIMINGS_FILE = "timings.csv"
CHECKS_FILE = "checks.csv"


@dataclass(frozen=True)
class Column:
    """A variant within a stage's table. `is_reference`: the others are held against it."""

    variant: int
    name: str
    is_reference: bool


@dataclass(frozen=True)
class Cell:
    """A figure, and how many times as fast as the reference it is (none for the reference itself)."""

    figure: Figure | None
    speed_up: float | None


@dataclass(frozen=True)
class StageTable:
    """A stage's figures: one row for each phase, one cell for each variant that has the stage."""

    stage: Stage
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def stage_tables(measured: Measured) -> list[StageTable]:
    """The figures of each stage side by side."""
    tables = []
    for stage in Stage:
        figures = [one for one in measured.figures if one.stage is stage]
        places = sorted({one.variant for one in figures})
        if not places:
            continue
        # The reference may have failed: then nothing is held against it.
        first = next(
            place
            for place, variant in enumerate(measured.variants)
            if place in places or any(build.stage is stage for build in variant.builds)
        )
        known = {(one.variant, one.phase): one for one in figures}
        phases = [phase for phase in dict.fromkeys(one.phase for one in figures) if phase != TOTAL]
        rows = tuple(
            (phase, tuple(_cell(known, first, place, phase) for place in places)) for phase in [*phases, TOTAL]
        )
        columns = tuple(Column(place, measured.variants[place].name, place == first) for place in places)
        tables.append(StageTable(stage, columns, rows))
    return tables


def write_markdown(header: Header, measured: Measured) -> str:
    """The whole benchmark for a person: where, of what, what came of each variant, times, checks."""
    lines = [
        f"# Benchmark {_plain(header.name)}",
        "",
        f"{header.started_at:%Y-%m-%d %H:%M} UTC, {_plain(str(header.machine))}. {header.repeats} rounds after one to "
        f"warm up, variants in turns. Medians with interquartile ranges; n is the number of rounds. {TOTAL_RULE}",
        "",
        f"Media: {', '.join(_medium(one.source, one.duration_s) for one in header.media)}.",
        "",
        f"Outcome: {header.outcome}. {_plain(header.message)}".rstrip(),
        "",
        *_variants(measured.variants),
    ]
    for table in stage_tables(measured):
        lines += ["", f"## {table.stage}", "", *_stage_table(table)]
    lines += ["", "## Agreement with the reference", "", *_checks(header, measured), "", REGRESSION_RULE, ""]
    return "\n".join(lines)


def write_comparison(header: Header, measured: Measured) -> str:
    """Figures as CSV: one line for each variant, stage and phase."""
    head = ("variant", "outcome", "stage", "phase", "n", "median_s", "q1_s", "q3_s", "s_per_media_minute", "speed_up")
    minutes = header.media_s / 60
    rows = [
        (
            *(column.name, measured.variants[column.variant].outcome, table.stage, phase),
            *(cell.figure.n, cell.figure.median_s, cell.figure.q1_s, cell.figure.q3_s),
            cell.figure.median_s / minutes if minutes else None,
            cell.speed_up,
        )
        for table in stage_tables(measured)
        for phase, cells in table.rows
        for column, cell in zip(table.columns, cells, strict=True)
        if cell.figure
    ]
    return _csv(head, rows)


def write_timings(header: Header, measured: Measured) -> str:
    """Raw rows as CSV: one line for each variant, round, stage, asset and phase, and for each total. Round 0 warmed
    up."""
    head = ("variant", "round", "stage", "asset", "source", "phase", "seconds", "peak_rss_mib", "peak_vram_mib")
    sources = {one.asset_id: one.source for one in header.media}
    rows = [
        (
            *(measured.variants[one.variant].name, one.round, one.stage, one.asset_id),
            *(sources.get(one.asset_id or ""), one.phase, one.seconds, one.peak_rss_mib, one.peak_vram_mib),
        )
        for one in measured.timings
    ]
    return _csv(head, rows)


def write_checks(header: Header, measured: Measured) -> str:
    """Checks as CSV."""
    head = ("variant", "stage", "asset", "source", "check", "value", "tolerance", "passed", "message")
    sources = {one.asset_id: one.source for one in header.media}
    rows = [
        (
            *(measured.variants[one.variant].name, one.stage, one.asset_id, sources.get(one.asset_id)),
            *(one.name, one.value, one.limit, one.is_passed, one.message),
        )
        for one in measured.checks
    ]
    return _csv(head, rows)


FILES = {
    MARKDOWN_FILE: write_markdown,
    COMPARISON_FILE: write_comparison,
    TIMINGS_FILE: write_timings,
    CHECKS_FILE: write_checks,
}
"""By name, what writes the file."""


def export(folder: Path, header: Header, measured: Measured) -> None:
    """Leave all files in the benchmark's folder."""
    for name, write in FILES.items():
        write_durably(folder / name, write(header, measured))


def worst(checks: Iterable[Check]) -> list[Check]:
    """Of each variant, stage and check the one that is furthest from passing, in the order in which they first come."""
    found: dict[tuple[int, Stage, str], Check] = {}
    for one in checks:
        key = (one.variant, one.stage, one.name)
        if key not in found or _distance(one) > _distance(found[key]):
            found[key] = one
    return list(found.values())


def _distance(check: Check) -> float:
    if check.value is None:
        return float("inf")
    at_most = next((one.at_most for one in TOLERANCES if one.name == check.name), True)
    return check.value - check.limit if at_most else check.limit - check.value


def _cell(known: dict[tuple[int, str], Figure], first: int, place: int, phase: str) -> Cell:
    own = known.get((place, phase))
    return Cell(own, None if place == first else speed_up(known.get((first, phase)), own))


def _variants(variants: Sequence[VariantEnd]) -> list[str]:
    rows = [
        (
            *(variant.name, build.stage, build.build, build.compute_type, build.batch_size, build.device),
            *(build.told_parameters, ", ".join(build.models), build.image_digest[:19], variant.outcome),
        )
        for variant in variants
        for build in variant.builds
    ]
    head = ("variant", "stage", "build", "compute type", "batch", "device", "parameters", "models", "image", "outcome")
    return _table(head, rows)


def _stage_table(table: StageTable) -> list[str]:
    head = ["phase"]
    for column in table.columns:
        head += [f"{column.name}, s"] if column.is_reference else [f"{column.name}, s", "speed-up"]
    rows = []
    for phase, cells in table.rows:
        row = [f"`{phase}`" if phase != TOTAL else TOTAL_NAME]
        for column, cell in zip(table.columns, cells, strict=True):
            row.append(_figure(cell.figure))
            if not column.is_reference:
                row.append(f"{cell.speed_up:.2f}" if cell.speed_up else "")
        rows.append(row)
    return _table(head, rows)


def _checks(header: Header, measured: Measured) -> list[str]:
    if not measured.checks:
        return ["Nothing to compare: each stage has one variant."]
    sources = {one.asset_id: one.source for one in header.media}
    head = ("variant", "stage", "check", "worst", "tolerance", "of", "")
    return _table(
        head,
        [
            (
                *(measured.variants[one.variant].name, one.stage, one.name),
                one.message if one.value is None else f"{one.value:.4g}",
                f"{one.limit:.3g}",
                sources.get(one.asset_id, one.asset_id[:12]),
                "passed" if one.is_passed else "failed",
            )
            for one in worst(measured.checks)
        ],
    )


def _figure(figure: Figure | None) -> str:
    if figure is None:
        return ""
    return f"{_number(figure.median_s)} [{_number(figure.q1_s)}, {_number(figure.q3_s)}] n={figure.n}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _medium(source: str, duration_s: float | None) -> str:
    return f"{_plain(source)} ({duration_s:.0f} s)" if duration_s is not None else _plain(source)


def _table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> list[str]:
    def line(values: Sequence[object]) -> str:
        return f"| {' | '.join(_plain(str(value)) for value in values)} |"

    return [line(head), f"|{'---|' * len(head)}", *(line(row) for row in rows)]


def _plain(text: str) -> str:
    """Text from a form or a file name, so that it cannot end a cell or a line, nor begin an element."""
    return printable(text).replace("|", "\\|").replace("<", "&lt;")


def _csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([_cell_text(value) for value in row] for row in rows)
    return text.getvalue()


def _cell_text(value: object) -> object:
    """A spreadsheet takes text that begins like a formula for one."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
