"""A benchmark as its containers would have left it, without any container."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine

from operators.benchmark.conclusion import Conclusion, begin_benchmark, conclude
from operators.benchmark.environment import Machine
from operators.benchmark.plan import BENCHMARK_DAG_ID, BenchmarkPlan, Step, VariantChoice, preparation, setting, steps
from operators.benchmark.records import BenchmarkFolder, StepRecord
from operators.database import transaction
from operators.queries import query
from operators.shard import RunFolder, Shard, ShardItem, ShardLocation
from operators.timings import RunStart, begin_run
from stage_contract.phases import PhaseRecord
from stage_contract.vocabulary import Phase, PhaseOutcome, Stage, Variant
from tests.operators.sample_results import Fill, make_result, speaking

ASSET = "a" * 64
MACHINE = Machine("Sample CPU", 2, 8192, "6.1", 2.0, 2048)
SPEECH = speaking("ask not what your country can do for you", "ask what you can do for your country")
FLOAT32 = VariantChoice(name="float32", stages=(Stage.TRANSCRIBE,), compute_type="float32")
INT8 = VariantChoice(name="int8", stages=(Stage.TRANSCRIBE,), compute_type="int8")
WORK = {Stage.PROBE: Phase.PROBE, Stage.EXTRACT: Phase.EXTRACT, Stage.TRANSCRIBE: Phase.TRANSCRIPTION}


BEGIN = datetime(2026, 1, 5, 22, tzinfo=UTC)


def phase(which: Phase, seconds: float, asset_id: str | None = None, at_s: float = 0.0) -> PhaseRecord:
    return PhaseRecord(
        phase=which,
        asset_id=asset_id,
        started_at=BEGIN + timedelta(seconds=at_s),
        duration_s=seconds,
        span_s=seconds,
        outcome=PhaseOutcome.DONE,
        peak_rss_mib=500.0,
    )


def made_plan(
    *variants: VariantChoice, repeats: int = 3, baseline: str | None = None, name: str = "b"
) -> BenchmarkPlan:
    return BenchmarkPlan(name=name, variants=variants or (FLOAT32, INT8), repeats=repeats, baseline=baseline)


def made_benchmark(
    database: Engine,
    work: Path,
    plan: BenchmarkPlan,
    *,
    seconds: Mapping[str, float] | None = None,
    says: Mapping[str, Fill] | None = None,
    fails: Mapping[str, str] | None = None,
    assets: Sequence[str] = (ASSET,),
    machine: Machine = MACHINE,
    run_id: str = "run",
) -> Conclusion:
    """Each variant takes its `seconds` for a transcription (a little more each round), and says its words."""
    begin_made(database, work, plan, assets, machine, run_id)
    folder = BenchmarkFolder(RunFolder(work, BENCHMARK_DAG_ID, run_id))
    for step in [*preparation(plan), *steps(plan)]:
        name = "" if step.variant is None else plan.variants[step.variant].name
        failure = (fails or {}).get(name, "")
        fill = (says or {}).get(name, SPEECH) if step.stage is Stage.TRANSCRIBE else None
        version = step.key
        results = (
            {} if failure else {a: make_result(folder.results, a, step.stage, fill, version=version) for a in assets}
        )
        spent_s = (seconds or {}).get(name, 1.0) + step.round / 1000
        folder.write_step(step, record(plan, step, spent_s, results, failure))
    return conclude(database, folder, BENCHMARK_DAG_ID, run_id)


def begin_made(
    database: Engine, work: Path, plan: BenchmarkPlan, assets: Sequence[str], machine: Machine, run_id: str
) -> int:
    """As `find_assets` leaves it."""
    now = datetime.now(UTC)
    begin_run(database, RunStart(BENCHMARK_DAG_ID, run_id, {}, now, now))
    with transaction(database) as connection:
        for asset_id in assets:
            connection.execute(query("add_asset"), {"asset_id": asset_id, "size_bytes": 6, "seen_at": now})
    items = tuple(
        ShardItem(asset_id=asset_id, root="archive", path=f"{asset_id[:3]}.mp4", size_bytes=6, mtime_ns=0)
        for asset_id in assets
    )
    locations = tuple(ShardLocation(root=one.root, path=one.path, asset_id=one.asset_id) for one in items)
    shard = Shard(items=items, locations=locations, stages=plan.stages)
    run_folder = RunFolder(work, BENCHMARK_DAG_ID, run_id)
    run_folder.write_shard(shard)
    return begin_benchmark(database, BenchmarkFolder(run_folder), plan, shard, machine, (BENCHMARK_DAG_ID, run_id))


def record(plan: BenchmarkPlan, step: Step, seconds: float, results: dict[str, str], failure: str = "") -> StepRecord:
    chosen = None if step.variant is None else setting(plan.variants[step.variant], step.stage)
    each_s = seconds / max(1, len(results))
    own = [phase(WORK[step.stage], each_s, asset_id, 0.9 + at * each_s) for at, asset_id in enumerate(results)]
    return StepRecord(
        stage=step.stage,
        variant=step.variant,
        round=step.round,
        build=chosen.build if chosen else Variant.CPU,
        compute_type=chosen.compute_type if chosen else "none",
        batch_size=chosen.batch_size if chosen else 1,
        device="cpu",
        image="nightreel/audio:cpu",
        image_digest="sha256:0123456789abcdef",
        models=(),
        phases=() if failure else (phase(Phase.CONTAINER_START, 0.4), phase(Phase.MODEL_LOAD, 0.5, None, 0.4), *own),
        results=results,
        failure=failure,
    )
