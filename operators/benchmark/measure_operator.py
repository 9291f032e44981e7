"""Runs the containers of a benchmark, one after another, each as production would."""

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docker
from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from sqlalchemy import Engine

from operators.attempt import task_key
from operators.benchmark.gpu_hold import NoGpu, hold_gpu
from operators.benchmark.plan import BenchmarkPlan, Setting, Step, preparation, setting, steps
from operators.benchmark.records import BenchmarkFolder, StepRecord
from operators.container import (
    DEVICE_LABEL,
    STAGE_USER,
    ContainerIdentity,
    environment,
    gpu_request,
    mounts,
    restrictions,
)
from operators.database import connect
from operators.device_hold import DeviceHold
from operators.gpu.asking import batch_now, batch_of, lease_request
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.needs import ModelKey
from operators.right_of_way import MustStandAside, RightOfWay, note_aside
from operators.room_trigger import RoomTrigger
from operators.routing import INPUTS, image_for
from operators.settings import Folders, container_limits, folders, stack_name
from operators.shard import RunFolder, Shard
from operators.stage_container import ContainerRemoved, ContainerStuck, EndedContainer, GpuRefused, StageContainer
from operators.stage_image import inspect_stage_image
from operators.stage_plan import FIRST_DOCKER_CODE, OF_ONE_CONTAINER, StageImage, judge
from operators.urgency_store import Asker
from stage_contract.fingerprint import FINGERPRINT_HEX_DIGITS
from stage_contract.phases import PHASES_FILE, PhaseRecord, read_phases
from stage_contract.request import RequestItem, StageRequest, TaskKey
from stage_contract.resources import DEFAULT_COMPUTE_TYPE, default_batch_size
from stage_contract.result import OUTCOME_FILE, StageOutcome, read_result, result_dir
from stage_contract.vocabulary import ExitCode, Phase, ResultStatus, Stage, Variant
from stage_contract.workspace import write_durably


@dataclass(frozen=True)
class Bench:
    """What a benchmark works with: fixed while its task runs. `places` have the results in the benchmark's folder."""

    task: TaskKey
    database: Engine
    places: Folders
    folder: BenchmarkFolder
    plan: BenchmarkPlan
    shard: Shard


@dataclass(frozen=True)
class Job:
    """One container to run: which step, in which image, over what."""

    bench: Bench
    engine: docker.APIClient
    step: Step
    setting: Setting
    image: StageImage
    items: tuple[RequestItem, ...]
    container: StageContainer
    way: RightOfWay

    @property
    def identity(self) -> ContainerIdentity:
        """Whose container it is."""
        return ContainerIdentity(stack_name(), self.bench.task)

    @property
    def folder(self) -> Path:
        """Its request, phases and outcome."""
        return self.bench.folder.attempt(self.step)


class MeasureOperator(BaseOperator):
    """The containers of a benchmark in order, one at a time, in the image, limits and mounts of production.

    What has ended stays when the task is tried again; a container that was interrupted is measured anew, under other
    names. It makes room for urgent runs between containers, or after the item that one is on; what that one
    measured does not count then.
    """

    ui_color = "#e8e3f5"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cancelled = False
        self.container: StageContainer | None = None

    def execute(self, context: Context) -> str:
        """Run what has not ended yet.

        Returns:
            One line: how many containers were run.

        Raises:
            AirflowFailException: the media cannot be prepared.
            AirflowException: a retry may help.
            TaskDeferred: urgent work goes first; `resume` goes on.
        """
        bench = open_bench(task_key(context))
        engine = docker.APIClient()
        every = [*preparation(bench.plan), *steps(bench.plan)]
        for number, step in enumerate(every, start=1):
            if bench.folder.read_step(step) or has_failed(bench, step):
                continue
            self.log.info("[%d/%d] %s", number, len(every), describe(bench.plan, step))
            try:
                record = self._measure(bench, engine, step)
            except MustStandAside as aside:
                note_aside(bench.task, f"waits: {aside}")
                asker = _asker(bench, step)
                self.defer(trigger=RoomTrigger.of(asker), method_name=self.resume.__name__)
            if record.failure and step.variant is None:
                raise AirflowFailException(f"the media must be prepared before anything is measured: {record.failure}")
            bench.folder.write_step(step, record)
            if record.failure:
                self.log.warning("%s is not measured: %s", describe(bench.plan, step), record.failure)
        return f"{len(every)} containers of {len(bench.plan.variants)} variants"

    def resume(self, context: Context, event: Any) -> str:
        """There is room again. Raises and returns what `execute` does."""
        return self.execute(context)

    def _measure(self, bench: Bench, engine: docker.APIClient, step: Step) -> StepRecord:
        """Run one container. What keeps the variant from being measured is told in the record.

        Raises:
            MustStandAside: urgent work goes first.
            AirflowException: a retry may help.
        """
        chosen = step_setting(bench.plan, step)
        image = inspect_stage_image(engine, step.stage, chosen.build)
        items = request_items(bench, step)
        if image is None:
            name = image_for(step.stage, chosen.build)
            return _failed(step, chosen, f"the engine must hold {name}: it is missing; build it with `make images`")
        if not items:
            return _failed(step, chosen, f"no asset has what {step.stage} reads; the log of `measure` says why")
        chosen = with_batch(bench, step, image, chosen)
        self.container = container = StageContainer(engine, ContainerIdentity(stack_name(), bench.task))
        if container.find():
            # A dead try left it. Nobody watched its time: it does not count.
            container.remove()
        job = Job(bench, engine, step, chosen, image, items, container, RightOfWay(bench.database, _asker(bench, step)))
        job.way.require()
        try:
            with self._hold(job) as hold:
                return self._run(job, hold)
        except (NoGpu, GpuRefused) as error:
            return _failed(step, chosen, str(error), image)
        finally:
            if container.container_id:
                container.remove()

    @contextlib.contextmanager
    def _hold(self, job: Job) -> Iterator[DeviceHold]:
        """The device to compute on, held until the block ends."""
        if job.setting.build is Variant.CPU:
            yield DeviceHold()
            return
        names = [model.name for model in job.image.models]
        key = ModelKey.of(job.step.stage, names, job.setting.compute_type, job.setting.batch_size)
        batch = batch_of(job.bench.database, GpuConfiguration.from_environment(), key)
        request = lease_request(job.bench.task, batch, self.priority_weight, job.identity.name)

        def look() -> None:
            self._stop_if_cancelled()
            job.way.require()

        with hold_gpu(job.bench.database, job.engine, request, lambda container: container.stop(), look) as hold:
            yield hold

    def _run(self, job: Job, hold: DeviceHold) -> StepRecord:
        """Start the container, wait for its end, and tell what it did."""
        self._start(job, hold)
        try:
            ended = job.container.follow(
                lambda line: self.log.info("%s", line), lambda: hold.is_given_up, lambda: job.way.attend(job.folder)
            )
        except (ContainerRemoved, ContainerStuck) as error:
            raise AirflowException("the task was cancelled" if self.cancelled else str(error)) from error
        outcome = _read_outcome(job.folder / OUTCOME_FILE)
        phases = tuple(read_phases(job.folder / PHASES_FILE))
        verdict = judge(ended.exit_code, outcome, ended.out_of_memory, {})
        hold.conclude(verdict, outcome.device_fault if outcome else None)
        if hold.lost:
            raise AirflowException(hold.lost.message)
        failure = why_void(ended, phases, verdict.message)
        done = {} if failure else finished_results(job.bench, job.step, job.items)
        facts = _facts(job.step, job.setting, job.image, hold.device)
        return StepRecord(**facts, phases=phases, results=done, failure=failure)

    def _start(self, job: Job, hold: DeviceHold) -> None:
        job.folder.mkdir(parents=True, exist_ok=True)
        for name in OF_ONE_CONTAINER:
            (job.folder / name).unlink(missing_ok=True)
        for item in job.items:
            (job.bench.folder.results / "assets" / item.asset_id / job.step.stage).mkdir(parents=True, exist_ok=True)
        write_durably(job.folder / "request.json", stage_request(job, hold).model_dump_json(indent=1))
        limits, places = container_limits(), job.bench.places
        self._stop_if_cancelled()
        job.container.create(
            image=job.image.name,
            labels=job.identity.labels | {DEVICE_LABEL: hold.device},
            user=STAGE_USER,
            command=["--request", "/work/request.json"],
            environment=environment(limits),
            host_config=job.engine.create_host_config(
                mounts=mounts(places, str(job.folder.relative_to(places.work)), job.step.stage, job.items),
                device_requests=gpu_request(hold.device),
                **restrictions(limits),
            ),
        )
        hold.attend(job.container)
        # Airflow calls on_kill from a signal handler and lets us go on: the container may come after it.
        self._stop_if_cancelled()
        job.container.start(hold.device)
        self._stop_if_cancelled()
        hold.confirm()

    def on_kill(self) -> None:
        """Cancelled or out of time: the container goes, within the supervisor's window."""
        self.cancelled = True
        if self.container and self.container.container_id:
            self.container.stop()
            self.container.remove()

    def _stop_if_cancelled(self) -> None:
        if self.cancelled:
            raise AirflowException("the task was cancelled before its container ran")


def open_bench(task: TaskKey) -> Bench:
    """What `find_assets` has left for this run.

    Raises:
        AirflowFailException: it did not end.
    """
    places = folders()
    run_folder = RunFolder(places.work, task.dag_id, task.run_id)
    folder = BenchmarkFolder(run_folder)
    shard = run_folder.read_shard()
    if shard is None:
        raise AirflowFailException("there must be media to measure: find_assets did not end; see its log")
    host = places.host_work / folder.results.relative_to(places.work)
    own = replace(places, results=folder.results, host_results=host)
    folder.results.mkdir(parents=True, exist_ok=True)
    return Bench(task, connect(), own, folder, folder.read_plan(), shard)


def stage_request(job: Job, hold: DeviceHold) -> StageRequest:
    """What the container is asked to do. With another compute type it would be another variant."""
    return StageRequest(
        stage=job.step.stage,
        task=job.bench.task,
        variant=job.setting.build,
        device=hold.device,
        need_mib=hold.need_mib,
        compute_type=job.setting.compute_type,
        batch_size=job.setting.batch_size,
        parameters=job.bench.plan.parameters(job.step.stage, job.step.variant),
        submitted_at=datetime.now(UTC),
        items=job.items,
    )


def step_setting(plan: BenchmarkPlan, step: Step) -> Setting:
    """How a step runs; what is only prepared runs as in production."""
    if step.variant is None:
        kind = (step.stage, Variant.CPU)
        return Setting(Variant.CPU, DEFAULT_COMPUTE_TYPE[kind], default_batch_size(*kind))
    return setting(plan.variants[step.variant], step.stage)


def with_batch(bench: Bench, step: Step, image: StageImage, chosen: Setting) -> Setting:
    """The batch of a GPU's variant that names none: production's, found in the round that warms up, for all rounds."""
    if chosen.build is Variant.CPU or step.variant is None or bench.plan.variants[step.variant].batch_size:
        return chosen
    warmed_up = bench.folder.read_step(replace(step, round=0))
    if warmed_up:
        return replace(chosen, batch_size=warmed_up.batch_size)
    configuration = GpuConfiguration.from_environment()
    batch = batch_now(bench.database, configuration, step.stage, image.models, chosen.compute_type)
    return replace(chosen, batch_size=batch.key.batch_size)


def request_items(bench: Bench, step: Step) -> tuple[RequestItem, ...]:
    """What the container is asked for. Results get names that nothing has, so that nothing is reused."""
    found = []
    for item in bench.shard.items:
        inputs = {}
        for needed in INPUTS[step.stage]:
            record = bench.folder.read_step(source_of(step, needed))
            if record and item.asset_id in record.results:
                inputs[needed] = record.results[item.asset_id]
        if len(inputs) == len(INPUTS[step.stage]):
            found.append(
                RequestItem(
                    asset_id=item.asset_id,
                    source=item.source,
                    size_bytes=item.size_bytes,
                    mtime_ns=item.mtime_ns,
                    fingerprint=secrets.token_hex(FINGERPRINT_HEX_DIGITS // 2),
                    inputs=inputs,
                )
            )
    return tuple(found)


def source_of(step: Step, needed: Stage) -> Step:
    """The step whose results are read: what was prepared, or what the same variant made in the same round."""
    if needed in (Stage.PROBE, Stage.EXTRACT):
        return Step(needed, None, 0)
    return replace(step, stage=needed)


def has_failed(bench: Bench, step: Step) -> bool:
    """Whether the stage could not be measured on this variant in an earlier round: then it is not tried again."""
    if step.variant is None:
        return False
    earlier = (bench.folder.read_step(replace(step, round=number)) for number in range(step.round))
    return any(record and record.failure for record in earlier)


def why_void(ended: EndedContainer, phases: tuple[PhaseRecord, ...], told: str) -> str:
    """Why a container's times do not count, empty when they do.

    Raises:
        MustStandAside: it made room for urgent work.
        AirflowException: it was the system, so that a retry may help.
    """
    code = ended.exit_code
    if code == ExitCode.STEPPED_ASIDE:
        raise MustStandAside(told)
    if code == ExitCode.TRANSIENT or (code >= FIRST_DOCKER_CODE and not ended.out_of_memory):
        raise AirflowException(told)
    if code != ExitCode.DONE:
        return told
    loads = sum(phase.phase is Phase.MODEL_LOAD for phase in phases)
    return f"it was not measured as asked: {told}" if loads > 1 else ""


def finished_results(bench: Bench, step: Step, items: tuple[RequestItem, ...]) -> dict[str, str]:
    """By asset the names of the results there are. What the stage rejected has none."""
    found = {}
    for item in items:
        result = read_result(result_dir(bench.folder.results, item.asset_id, step.stage, item.fingerprint))
        if result and result.status is ResultStatus.DONE:
            found[item.asset_id] = item.fingerprint
    return found


def describe(plan: BenchmarkPlan, step: Step) -> str:
    """A step in words, for the log."""
    if step.variant is None:
        return f"prepare: {step.stage}"
    return f"{f'round {step.round}' if step.round else 'warm-up'}: {plan.variants[step.variant].name}, {step.stage}"


def _asker(bench: Bench, step: Step) -> Asker:
    return Asker(bench.task, step.stage, step_setting(bench.plan, step).build)


def _failed(step: Step, chosen: Setting, why: str, image: StageImage | None = None) -> StepRecord:
    image = image or StageImage(image_for(step.stage, chosen.build), "", "", ())
    return StepRecord(**_facts(step, chosen, image, ""), phases=(), results={}, failure=why)


def _facts(step: Step, chosen: Setting, image: StageImage, device: str) -> dict[str, Any]:
    return {
        "stage": step.stage,
        "variant": step.variant,
        "round": step.round,
        "build": chosen.build,
        "compute_type": chosen.compute_type,
        "batch_size": chosen.batch_size,
        "device": device,
        "image": image.name,
        "image_digest": image.digest,
        "models": image.models,
    }


def _read_outcome(path: Path) -> StageOutcome | None:
    return StageOutcome.model_validate_json(path.read_bytes()) if path.exists() else None
