"""The ends of a benchmark: what it is about, and what it found."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from operators.benchmark import checks, store
from operators.benchmark.checks import Check
from operators.benchmark.environment import Machine
from operators.benchmark.figures import LEAST_ROUNDS, TOTAL, Regression, Timing, covered_s, find_regressions, summarize
from operators.benchmark.plan import BenchmarkPlan, Step, VariantChoice, steps
from operators.benchmark.records import BenchmarkFolder, StepRecord
from operators.benchmark.store import BenchmarkOutcome, Build, Header, Measured, Medium, VariantEnd, VariantOutcome
from operators.database import Database
from operators.errors import ChoiceInvalid, ShardMissing
from operators.shard import Shard
from operators.timings import RunItem, RunItemOutcome, RunOutcome, finish_run, set_item_outcomes
from stage_contract.outputs import (
    ENRICHMENT_FILE,
    FRAMES_FILE,
    PROBE_FILE,
    TRANSCRIPT_FILE,
    Enrichment,
    Frame,
    ProbeOutput,
    Transcript,
)
from stage_contract.result import result_dir
from stage_contract.vocabulary import Phase, PhaseOutcome, Stage

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Conclusion:
    """What a benchmark found, and how it stands to its baseline."""

    header: Header
    measured: Measured
    regressions: tuple[Regression, ...]


def require_baseline(database: Database, plan: BenchmarkPlan, dag_id: str, run_id: str) -> Header | None:
    """The benchmark to hold this one against: the one that was named, or the one that is marked; none without either.

    Raises:
        ChoiceInvalid: there is none of that name.
    """
    found = store.find_baseline(database, plan.baseline, dag_id, run_id)
    if found is None and plan.baseline:
        raise ChoiceInvalid(
            f"a baseline must be a benchmark that has ended: none is called {plan.baseline!r}; the page “CPU and GPU” "
            "lists them"
        )
    return found


def begin_benchmark(
    database: Database,
    folder: BenchmarkFolder,
    plan: BenchmarkPlan,
    shard: Shard,
    machine: Machine,
    run: tuple[str, str],
) -> int:
    """Leave the plan for the task that measures, and record that the benchmark begins. `run` is DAG and run id.

    Returns:
        The benchmark's number.

    Raises:
        ChoiceInvalid: the baseline that was named does not exist.
    """
    baseline = require_baseline(database, plan, *run)
    folder.forget()
    folder.write_plan(plan)
    media = tuple(Medium(item.asset_id, item.source) for item in shard.items)
    began = store.Start(
        *run, plan.name, plan.repeats, media, machine, datetime.now(UTC), baseline.benchmark_id if baseline else None
    )
    return store.begin(database, began)


def conclude(database: Database, folder: BenchmarkFolder, dag_id: str, run_id: str) -> Conclusion:
    """Compare what was measured, and record it.

    Raises:
        ShardMissing: the run never found its media.
    """
    shard = folder.run_folder.read_shard()
    benchmark_id = store.find_of_run(database, dag_id, run_id)
    begun = store.find(database, benchmark_id) if benchmark_id is not None else None
    if shard is None or begun is None:
        finish_run(database, dag_id, run_id, datetime.now(UTC), RunOutcome.FAILED)
        raise ShardMissing("there is nothing to compare: find_assets did not end; see its log")
    plan = folder.read_plan()
    media = read_media(folder, shard)
    measured = read_measured(folder, plan, media)
    baseline = store.find(database, begun.baseline_id) if begun.baseline_id is not None else None
    regressions, told = _against(database, baseline, replace(begun, media=media), measured)
    outcome = BenchmarkOutcome.REGRESSED if regressions else BenchmarkOutcome.DONE
    message = "; ".join(filter(None, [*_tell_variants(measured.variants), told]))
    store.finish(database, begun.benchmark_id, datetime.now(UTC), outcome, message, media, measured)
    _end_run(database, shard, dag_id, run_id)
    header = store.find(database, begun.benchmark_id)
    if header is None:
        raise ShardMissing(f"benchmark {begun.benchmark_id} was deleted while it was concluded; clear find_assets")
    return Conclusion(header, measured, regressions)


def read_media(folder: BenchmarkFolder, shard: Shard) -> tuple[Medium, ...]:
    """The media, with their lengths where the probe told them."""
    record = folder.read_step(Step(Stage.PROBE, None, 0))
    found = []
    for item in shard.items:
        duration_s = None
        if record and item.asset_id in record.results:
            path = _directory(folder, record, item.asset_id) / PROBE_FILE
            duration_s = _read(path, ProbeOutput).duration_s
        found.append(Medium(item.asset_id, item.source, duration_s))
    return tuple(found)


def read_measured(folder: BenchmarkFolder, plan: BenchmarkPlan, media: Sequence[Medium]) -> Measured:
    """Timings, figures and checks from the benchmark's files."""
    records = [record for step in steps(plan) if (record := folder.read_step(step))]
    timings = tuple(one for record in records for one in timings_of(record))
    found = tuple(
        check
        for stage in plan.stages
        for place, variant in enumerate(plan.variants)
        if stage in variant.stages and place != plan.reference(stage)
        for check in _checks(folder, plan, stage, place, media)
    )
    variants = tuple(_variant_end(plan, place, records, found, media) for place in range(len(plan.variants)))
    return Measured(variants, timings, tuple(summarize(timings)), found)


def timings_of(record: StepRecord) -> list[Timing]:
    """What a container did, by phase and asset, and its total. One that does not count has none."""
    if record.failure or record.variant is None:
        return []
    found: dict[tuple[str, str | None], Timing] = {}
    done = [phase for phase in record.phases if phase.outcome is PhaseOutcome.DONE]
    for phase in done:
        key = (str(phase.phase), phase.asset_id)
        before = found.get(key)
        found[key] = Timing(
            variant=record.variant,
            round=record.round,
            stage=record.stage,
            phase=str(phase.phase),
            asset_id=phase.asset_id,
            seconds=phase.duration_s + (before.seconds if before else 0.0),
            peak_rss_mib=phase.peak_rss_mib,
            peak_vram_mib=phase.peak_vram_mib,
        )
    total_s = covered_s((one.started_at, one.span_s) for one in done if one.phase is not Phase.CONTAINER_START)
    return [*found.values(), Timing(record.variant, record.round, record.stage, TOTAL, None, total_s)]


def _against(
    database: Database, baseline: Header | None, now: Header, measured: Measured
) -> tuple[tuple[Regression, ...], str]:
    """What is slower than the baseline, and how the two compare in words."""
    if baseline is None:
        return (), ""
    label = f"baseline {baseline.name!r}"
    reason = why_not_comparable(baseline, now)
    if reason:
        return (), f"not held against {label}: {reason}"
    names = {place: variant.name for place, variant in enumerate(measured.variants)}
    figures = store.read_figures(database, baseline.benchmark_id)
    found = find_regressions(names, measured.figures, store.read_names(database, baseline.benchmark_id), figures)
    if found:
        return tuple(found), f"slower than {label}: {', '.join(map(str, found))}"
    return (), f"no slower than {label}"


def why_not_comparable(baseline: Header, now: Header) -> str:
    """Why the times of two benchmarks say nothing about each other; empty when they do."""
    if {one.asset_id for one in baseline.media} != {one.asset_id for one in now.media}:
        return "it was of other media"
    if baseline.machine.kind != now.machine.kind:
        return f"it ran on another machine ({baseline.machine})"
    if min(baseline.repeats, now.repeats) < LEAST_ROUNDS:
        return f"both need {LEAST_ROUNDS} rounds or more, for a spread: it had {baseline.repeats}, this {now.repeats}"
    return ""


def _checks(
    folder: BenchmarkFolder, plan: BenchmarkPlan, stage: Stage, place: int, media: Sequence[Medium]
) -> list[Check]:
    """A variant against the reference, by the outputs of the last round."""
    reference, other = (
        folder.read_step(Step(stage, variant, plan.repeats)) for variant in (plan.reference(stage), place)
    )
    if reference is None or other is None or reference.failure or other.failure:
        return []
    found: list[Check] = []
    for medium in media:
        has = [medium.asset_id in record.results for record in (reference, other)]
        if all(has):
            found += checks.judge(place, stage, medium.asset_id, _findings(folder, stage, medium, reference, other))
        elif any(has):
            told = "only the reference has a result" if has[0] else "the reference has no result"
            found.append(checks.missing(place, stage, medium.asset_id, told))
    return found


def _findings(
    folder: BenchmarkFolder, stage: Stage, medium: Medium, reference: StepRecord, other: StepRecord
) -> checks.Findings:
    first, second = (_directory(folder, record, medium.asset_id) for record in (reference, other))
    if stage is Stage.TRANSCRIBE:
        return checks.check_transcripts(*(_read(one / TRANSCRIPT_FILE, Transcript) for one in (first, second)))
    if stage is Stage.ANALYZE:
        return checks.check_frames(_frames(first), _frames(second))
    return checks.check_enrichments(*(_read(one / ENRICHMENT_FILE, Enrichment) for one in (first, second)))


def _variant_end(
    plan: BenchmarkPlan, place: int, records: Sequence[StepRecord], found: Sequence[Check], media: Sequence[Medium]
) -> VariantEnd:
    variant = plan.variants[place]
    own = [record for record in records if record.variant == place]
    builds = {record.stage: _build(record, variant) for record in own}
    failures = {record.stage: record.failure for record in own if record.failure}
    # A stage without a record: one before it failed, and left nothing to read.
    absent = [stage for stage in variant.stages if stage not in builds]
    if failures or absent:
        told = [f"{stage}: {why}" for stage, why in failures.items()] + [f"{stage}: was not run" for stage in absent]
        return VariantEnd(variant.name, VariantOutcome.FAILED, "; ".join(told), tuple(builds.values()))
    sources = {medium.asset_id: medium.source for medium in media}
    wrong = checks.tell_failures([one for one in found if one.variant == place], sources.__getitem__)
    outcome = VariantOutcome.WRONG if wrong else VariantOutcome.MEASURED
    return VariantEnd(variant.name, outcome, wrong, tuple(builds.values()))


def _build(record: StepRecord, variant: VariantChoice) -> Build:
    return Build(
        stage=record.stage,
        build=record.build,
        compute_type=record.compute_type,
        batch_size=record.batch_size,
        device=record.device,
        image=record.image,
        image_digest=record.image_digest,
        models=tuple(model.name for model in record.models),
        parameters=variant.parameters.get(record.stage, {}),
    )


def _tell_variants(variants: Sequence[VariantEnd]) -> list[str]:
    return [f"{one.name} is {one.outcome}: {one.message}" for one in variants if one.message]


def _end_run(database: Database, shard: Shard, dag_id: str, run_id: str) -> None:
    """The run's files are done with: nothing of a benchmark is published, and nothing waits."""
    items = [
        RunItem(one.root, one.path, one.asset_id, RunItemOutcome.REJECTED, one.rejection.reason, one.rejection.message)
        if one.rejection
        else RunItem(one.root, one.path, one.asset_id, RunItemOutcome.DONE)
        for one in shard.locations
    ]
    set_item_outcomes(database, dag_id, run_id, items)
    finish_run(database, dag_id, run_id, datetime.now(UTC), RunOutcome.DONE)


def _directory(folder: BenchmarkFolder, record: StepRecord, asset_id: str) -> Path:
    return result_dir(folder.results, asset_id, record.stage, record.results[asset_id])


def _read(path: Path, model: type[Model]) -> Model:
    return model.model_validate_json(path.read_bytes())


def _frames(directory: Path) -> list[Frame]:
    lines = (directory / FRAMES_FILE).read_text(encoding="utf-8").splitlines()
    return [Frame.model_validate_json(line) for line in lines]
