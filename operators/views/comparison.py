"""What the page "CPU and GPU" shows: ordinary runs by stage and phase, and benchmarks. Reads; changes nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from operators.advice import BenchmarkedStage, BenchmarkedVariant, Spread, StageWork
from operators.benchmark import store
from operators.benchmark.figures import TOTAL, TOTAL_NAME
from operators.benchmark.report import stage_tables
from operators.benchmark.store import BenchmarkOutcome, Header, Measured, read_header
from operators.database import Database, transaction
from operators.queries import query
from operators.routing import has_gpu_build
from stage_contract.vocabulary import Stage, Variant

ATTEMPTS = 200
ASSETS = 200
"""Of each stage and variant the latest attempts count, back to so many and to so many assets: the page stays quick,
and tells of the models that run now."""

ADVISING_BENCHMARKS = 10
"""The advisor reads the latest."""

KINDS = [(stage, variant) for stage in Stage for variant in Variant if variant is Variant.CPU or has_gpu_build(stage)]


@dataclass(frozen=True)
class ComparedPhase:
    """A phase on both sides; none where it did not run. `speed_up` is how many times as fast the GPU is."""

    phase: str
    cpu: Spread | None
    gpu: Spread | None

    @property
    def speed_up(self) -> float | None:
        """The CPU's median by the GPU's; none where there are not both."""
        if not self.cpu or not self.gpu or self.gpu.median_s <= 0:
            return None
        return self.cpu.median_s / self.gpu.median_s


@dataclass(frozen=True)
class ComparedStage:
    """A stage on both sides. `in_all` and `phases` are seconds for a minute of media, `overheads` for a container."""

    stage: Stage
    cpu: StageWork | None
    gpu: StageWork | None
    in_all: ComparedPhase
    phases: tuple[ComparedPhase, ...]
    overheads: tuple[ComparedPhase, ...]

    @property
    def sides(self) -> list[StageWork]:
        """Those there are."""
        return [side for side in (self.cpu, self.gpu) if side]


@dataclass(frozen=True)
class ListedBenchmark:
    """A line of the list. `has_died`: its run ended before the benchmark did."""

    header: Header
    variants: int
    wrong: int
    failed: int
    has_died: bool


def ordinary_work(database: Database) -> tuple[StageWork, ...]:
    """What each stage took lately on each variant, in ordinary runs."""
    kinds = {"stages": [stage for stage, _ in KINDS], "variants": [variant for _, variant in KINDS]}
    with transaction(database) as connection:
        asked = {**kinds, "attempts": ATTEMPTS, "items": ASSETS}
        attempts = connection.execute(query("recent_attempts"), asked).all()
        if not attempts:
            return ()
        keys = {
            f"{name}{plural}": [getattr(one, name) for one in attempts]
            for name, plural in (
                *(("dag_id", "s"), ("run_id", "s"), ("task_id", "s"), ("map_index", "es"), ("try_number", "s")),
                *(("stage", "s"), ("variant", "s")),
            )
        }
        phases = _spreads(connection, "attempt_phases", keys)
        overheads = _spreads(connection, "attempt_overheads", keys)
        in_all = {
            (Stage(row.stage), Variant(row.variant)): Spread(TOTAL_NAME, row.n, *row.quartiles)
            for row in connection.execute(query("attempt_work"), keys)
        }
    found = []
    for kind in KINDS:
        own = [one for one in attempts if (one.stage, one.variant) == kind]
        if own and kind in phases:
            found.append(_stage_work(kind, own, in_all[kind], phases[kind], overheads.get(kind, [])))
    return tuple(found)


def compare_devices(work: Sequence[StageWork]) -> list[ComparedStage]:
    """The CPU beside the GPU, by stage and phase; phases in the order of their weight."""
    known = {(one.stage, one.variant): one for one in work}
    stages = []
    for stage in Stage:
        cpu, gpu = known.get((stage, Variant.CPU)), known.get((stage, Variant.CUDA))
        if cpu or gpu:
            sides = cpu.phases if cpu else (), gpu.phases if gpu else ()
            shared = cpu.overheads if cpu else (), gpu.overheads if gpu else ()
            in_all = ComparedPhase(TOTAL_NAME, cpu.in_all if cpu else None, gpu.in_all if gpu else None)
            stages.append(ComparedStage(stage, cpu, gpu, in_all, _beside(*sides), _beside(*shared)))
    return stages


def list_benchmarks(database: Database, limit: int, offset: int = 0) -> list[ListedBenchmark]:
    """Benchmarks, the last first."""
    with transaction(database) as connection:
        found = connection.execute(query("page_benchmarks"), {"limit": limit, "offset": offset}).all()
    return [
        ListedBenchmark(
            header=read_header(one),
            variants=one.variants,
            wrong=one.wrong,
            failed=one.failed,
            has_died=one.outcome == BenchmarkOutcome.RUNNING and one.run_outcome != "running",
        )
        for one in found
    ]


def benchmarked_stages(database: Database) -> list[BenchmarkedStage]:
    """The stages of the latest benchmarks with more than one variant, for the advisor; the latest first."""
    found: list[BenchmarkedStage] = []
    for listed in list_benchmarks(database, ADVISING_BENCHMARKS):
        if listed.header.finished_at is not None:
            found += stages_of(listed.header, store.read_summary(database, listed.header.benchmark_id))
    return found


def stages_of(header: Header, measured: Measured) -> list[BenchmarkedStage]:
    """A benchmark's stages that have something to compare with the reference."""
    stages = []
    for table in stage_tables(measured):
        totals = {one.variant: one for one in measured.figures if one.stage is table.stage and one.phase == TOTAL}
        if not table.columns[0].is_reference or len(table.columns) < 2:
            continue
        variants = []
        for column in table.columns:
            end = measured.variants[column.variant]
            build = next(one for one in end.builds if one.stage is table.stage)
            variants.append(
                BenchmarkedVariant(
                    *(end.name, end.outcome, end.message, build.build, build.compute_type, build.batch_size),
                    *(build.told_parameters, totals[column.variant]),
                )
            )
        stages.append(BenchmarkedStage(header.name, table.stage, tuple(variants)))
    return stages


def _spreads(
    connection: Connection, name: str, keys: Mapping[str, list[Any]]
) -> dict[tuple[Stage, Variant], list[tuple[Spread, float]]]:
    """By stage and variant the phases, each with the sum of its seconds."""
    found: dict[tuple[Stage, Variant], list[tuple[Spread, float]]] = {}
    for row in connection.execute(query(name), keys):
        spread = Spread(row.phase, row.n, *row.quartiles)
        found.setdefault((Stage(row.stage), Variant(row.variant)), []).append((spread, row.total_s))
    return found


def _stage_work(
    kind: tuple[Stage, Variant],
    attempts: Sequence[Any],
    in_all: Spread,
    phases: Sequence[tuple[Spread, float]],
    overheads: Sequence[tuple[Spread, float]],
) -> StageWork:
    peaks = [one.peak_mib for one in attempts if one.peak_mib]
    capacities = [one.capacity_mib for one in attempts if one.capacity_mib]
    return StageWork(
        *kind,
        containers=len(attempts),
        since=min(one.started_at for one in attempts),
        devices=_distinct(one.device for one in attempts),
        compute_types=_distinct(one.compute_type for one in attempts),
        models=_distinct(model["name"] for one in attempts for model in one.models),
        in_all=in_all,
        phases=tuple(spread for spread, _ in phases),
        overheads=tuple(spread for spread, _ in overheads),
        overhead_s=sum(total_s for _, total_s in overheads),
        work_s=sum(one.work_s for one in attempts),
        peak_vram_mib=max(peaks, default=None),
        capacity_mib=min(capacities, default=None),
    )


def _beside(cpu: Sequence[Spread], gpu: Sequence[Spread]) -> tuple[ComparedPhase, ...]:
    left, right = ({one.phase: one for one in side} for side in (cpu, gpu))
    return tuple(ComparedPhase(phase, left.get(phase), right.get(phase)) for phase in dict.fromkeys([*left, *right]))


def _distinct(values: Any) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value}))
