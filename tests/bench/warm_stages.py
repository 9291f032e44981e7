"""The stages over clips without Airflow: for each, one container per slot, with all of its part in one request."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import docker

from operators.errors import NightreelError
from operators.routing import INPUTS
from operators.settings import ContainerLimits
from operators.shard import Shard, ShardItem, StageIndex
from operators.stage_image import find_build
from operators.stage_plan import Build, after_container, full_parameters, plan_stage
from stage_contract.phases import PhaseRecord
from stage_contract.request import StageRequest, TaskKey
from stage_contract.resources import default_batch_size
from stage_contract.vocabulary import ExitCode, Stage, Variant
from tests.bench.slot_time import Span, work_span
from tests.stage_container import Finished, StageBench

SAID = 2000
"""Characters of a failed container's log that are told, from its end."""


class StageFailed(NightreelError):
    """A stage did not do all of its items."""


def run_warm(
    root: Path, archive: Path, items: Sequence[ShardItem], limits: ContainerLimits, slots: int
) -> dict[Stage, float]:
    """Take the items through all stages, one stage after the other, each in as many containers as there are slots.

    Results lie in `result_folders(root, slots)`. What shares the slots, sound and pictures, has them in turn: no slot
    is empty before the stage's end.

    Returns:
        Seconds by stage, from the first item's start to the last item's end in the container that took longest.
        Starting it, its imports and models are not in it.

    Raises:
        StageFailed: a stage did not do all of its items.
    """
    with closing(docker.from_env()) as client:
        builds = {stage: _build(client.api, stage) for stage in Stage}
    workers = []
    for number, part in enumerate(deal(items, slots)):
        folder = _slot_folder(root, number)
        folder.mkdir(parents=True)
        workers.append(_Slot(StageBench(folder, archive, limits), Shard(items=part)))
    seconds = {}
    with ThreadPoolExecutor(len(workers)) as threads:
        for stage, build in builds.items():
            done = threads.map(_Slot.run, workers, [stage] * len(workers), [build] * len(workers))
            seconds[stage] = max(item_seconds(finished.phases) for finished in done)
    return seconds


def result_folders(root: Path, slots: int) -> list[Path]:
    """Where the results of `run_warm` are: a slot keeps its items through all stages."""
    return [_slot_folder(root, number) / "results" for number in range(slots)]


def deal(items: Iterable[ShardItem], parts: int) -> list[tuple[ShardItem, ...]]:
    """Items dealt out in the order of their ids, which is none of the media's; no part is empty."""
    ordered = sorted(items, key=lambda item: item.asset_id)
    return [part for part in (tuple(ordered[number::parts]) for number in range(parts)) if part]


def item_seconds(phases: Sequence[PhaseRecord]) -> float:
    """How long a container worked on its items."""
    shared = [_span(record) for record in phases if record.asset_id is None]
    return work_span(shared, [_span(record) for record in phases if record.asset_id is not None]).duration_s


def total(halves: Iterable[Mapping[Stage, float]]) -> dict[Stage, float]:
    """Seconds by stage of all together."""
    seconds: Counter[Stage] = Counter()
    for half in halves:
        seconds.update(half)
    return dict(seconds)


class _Slot:
    """One slot's assets on their way through the stages."""

    def __init__(self, bench: StageBench, shard: Shard) -> None:
        self._bench = bench
        self._shard = shard
        self._indexes: dict[Stage, StageIndex] = {}

    def run(self, stage: Stage, build: Build) -> Finished:
        upstream = {needed: self._indexes.get(needed) for needed in INPUTS[stage]}
        waiting = plan_stage(self._bench.results, self._shard, upstream, build).waiting
        choice = build[0]
        request = StageRequest(
            stage=stage,
            task=TaskKey(dag_id="orchestration", run_id="warm", task_id=stage.replace(".", "_"), try_number=1),
            variant=Variant.CPU,
            compute_type=choice.compute_type,
            smaller_compute_type=choice.smaller_compute_type,
            batch_size=default_batch_size(stage, Variant.CPU),
            parameters=dict(choice.parameters),
            submitted_at=datetime.now(UTC),
            items=waiting,
        )
        finished = self._bench.run(request)
        if finished.exit_code != ExitCode.DONE:
            raise StageFailed(f"{stage} must do all items: exit {finished.exit_code}\n{finished.log[-SAID:]}")
        made = after_container(self._bench.results, stage, waiting, finished.outcome, finished.outcome.message)
        self._indexes[stage] = StageIndex(stage=stage, items=made)
        return finished


def _build(client: docker.APIClient, stage: Stage) -> Build:
    build = find_build(client, stage, Variant.CPU, full_parameters(stage, {}))
    if build is None:
        raise StageFailed(f"the engine must hold the image of {stage}: build it with `make images`")
    return build


def _slot_folder(root: Path, number: int) -> Path:
    return root / f"slot-{number}"


def _span(record: PhaseRecord) -> Span:
    return Span(record.started_at, record.started_at + timedelta(seconds=record.span_s))
