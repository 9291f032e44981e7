"""Runs one stage of one shard in a container: files in, files out, the exit code decides."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from pydantic import ValidationError

from operators.attempt import Attempt, first_try, task_key
from operators.container import (
    DEVICE_LABEL,
    STAGE_USER,
    ContainerIdentity,
    environment,
    gpu_request,
    mounts,
    restrictions,
)
from operators.device_hold import DeviceHold
from operators.gpu.device_notes import note_devices
from operators.links import OutputsLink
from operators.right_of_way import MustStandAside, RightOfWay, note_aside
from operators.room_trigger import RoomTrigger
from operators.routing import INPUTS, DevicePolicy, equal_variants, image_for
from operators.settings import Folders, container_limits, folders, stack_name
from operators.shard import RunFolder, StageIndex, StageItem
from operators.stage_container import (
    ContainerRemoved,
    ContainerStuck,
    EndedContainer,
    FoundContainer,
    GpuRefused,
    StageContainer,
    remove_container,
)
from operators.stage_image import find_build
from operators.stage_plan import (
    OF_ONE_CONTAINER,
    STOPPED_FILE,
    Action,
    AttemptOutcome,
    Build,
    StageChoice,
    StagePlan,
    Verdict,
    after_container,
    full_parameters,
    judge,
    over_all,
    plan_stage,
    set_aside_killers,
    without_container,
)
from operators.urgency_store import Asker
from stage_contract.phases import PHASES_FILE, read_phases
from stage_contract.request import StageRequest
from stage_contract.resources import default_batch_size
from stage_contract.result import OUTCOME_FILE, StageOutcome
from stage_contract.vocabulary import DeviceFault, ExitCode, ItemOutcome, Phase, Stage, Variant
from stage_contract.workspace import write_durably


@dataclass(frozen=True)
class Work:
    """What an attempt is about: fixed once it has begun."""

    attempt: Attempt
    identity: ContainerIdentity
    places: Folders
    run_folder: RunFolder
    container: StageContainer
    way: RightOfWay


class StageOperator(DockerOperator):
    """One stage over the run's shard, in one container, on the CPU.

    Assets with a complete result are not processed again; when all have one, no container starts.
    The container outlives the death of this process, and the retry joins it. Cancelling the task, or
    its time-out, removes the container. For urgent runs it makes room: it waits before it begins, and a container
    that runs ends after the item it is on. Then the task is deferred, and goes on in the same try.

    :param stage: what to run, for instance ``audio.transcribe``.
    :param device_policy: ``auto``, ``cpu`` or ``gpu`` (templated).
    :param parameters: the stage's own parameters, see ``stage_contract.parameters`` (templated).
    :param takes_over_from: id of the task whose work this one goes on with, on the GPU.
    """

    variant = Variant.CPU

    template_fields: Sequence[str] = ("device_policy", "parameters")
    template_ext: Sequence[str] = ()
    operator_extra_links = (OutputsLink(),)
    ui_color = "#dce9f7"

    def __init__(
        self,
        *,
        stage: Stage,
        device_policy: str = DevicePolicy.AUTO,
        parameters: Mapping[str, Any] | None = None,
        takes_over_from: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(image=image_for(stage, self.variant), mount_tmp_dir=False, auto_remove="never", **kwargs)
        self.stage = stage
        self.device_policy = device_policy
        self.parameters = dict(parameters or {})
        self.takes_over_from = takes_over_from
        self.cancelled = False
        self.work: Work | None = None
        self.attempt_folder: Path | None = None

    def execute(self, context: Context) -> str:
        """Plan, run or join the container, record what happened.

        Returns:
            One line: how many assets ended how.

        Raises:
            AirflowSkipException: there is nothing to do, or every asset was rejected.
            AirflowFailException: a retry would not help.
            AirflowException: a retry may help.
            TaskDeferred: others go first; `resume` goes on.
        """
        return self._carry_out(Attempt.begin(context, self.stage), context)

    def resume(self, context: Context, event: Any, aside_since: str) -> str:
        """There is room again. What was finished before is found complete; raises and returns what `execute` does."""
        attempt = Attempt.come_back(context, self.stage, datetime.fromisoformat(aside_since))
        note_aside(
            attempt.task, f"stood aside from {aside_since[11:19]} to {datetime.now(UTC):%H:%M:%S} UTC, and went on"
        )
        return self._carry_out(attempt, context)

    def _carry_out(self, attempt: Attempt, context: Context) -> str:
        try:
            verdict, items = self._run_shard(attempt, context)
        except BaseException as error:  # a time-out is none of Exception's
            outcome = AttemptOutcome.CANCELLED if self.cancelled else AttemptOutcome.FAILED
            attempt.finish(outcome, message=str(error) or type(error).__name__)
            raise
        attempt.finish(verdict.outcome, message=verdict.message, items=items)
        if self.work and self.work.container.container_id:
            # Only now: were the database away, the next try would find the container and its phases again.
            self.work.container.remove()
        return self._conclude(context, verdict)

    def _run_shard(self, attempt: Attempt, context: Context) -> tuple[Verdict, dict[str, StageItem]]:
        places = folders()
        run_folder = RunFolder(places.work, attempt.task.dag_id, attempt.task.run_id)
        run_folder.forget_index(self.stage)
        shard = run_folder.read_shard()
        if shard is None or self.stage not in shard.stages:
            reason = "there is no shard: find_assets did not end" if shard is None else "not asked for in this run"
            return Verdict(Action.SKIP, AttemptOutcome.DONE, f"{self.stage}: {reason}"), {}
        identity = ContainerIdentity(stack_name(), attempt.task)
        way = RightOfWay(attempt.database, Asker(attempt.task, self.stage, self.variant))
        self.work = work = Work(attempt, identity, places, run_folder, StageContainer(self.cli, identity), way)
        found = work.container.find()
        with attempt.phase(Phase.PREPARE):
            self._end_predecessor(work)
            build, others = self._builds()
            attempt.describe(self.variant, build[1], build[0].compute_type)
            upstream = {needed: run_folder.read_index(needed) for needed in INPUTS[self.stage]}
            plan = plan_stage(places.results, shard, upstream, build, others)
            given_up: dict[str, StageItem] = {}
            if found is None:
                plan, given_up = set_aside_killers(plan, run_folder.tries(attempt.task, first_try(context)))
        items = dict(plan.complete) | given_up
        if found is None and not plan.waiting:
            verdict = without_container(self.stage, items)
        else:
            try:
                verdict, made = self._run_or_stand_aside(work, build, plan, found)
            except MustStandAside as aside:
                verdict, made = Verdict(Action.STEP_ASIDE, AttemptOutcome.STEPPED_ASIDE, str(aside)), {}
            not_asked = {
                item.asset_id: StageItem(fingerprint=item.fingerprint, outcome=ItemOutcome.LEFT, message="not begun")
                for item in plan.waiting
            }
            items = {**not_asked, **items, **made}
        run_folder.write_index(StageIndex(stage=self.stage, items=items))
        return over_all(verdict, items), items

    def _end_predecessor(self, work: Work) -> None:
        """End what the task whose work this one takes over may have left behind; what it finished counts."""
        if self.takes_over_from is None:
            return
        attempt = work.attempt
        theirs = attempt.task.model_copy(update={"task_id": self.takes_over_from})
        removed = remove_container(self.cli, ContainerIdentity(work.identity.stack, theirs))
        if removed:
            self.log.info("Removed container %s of %s; what it finished is kept", removed, self.takes_over_from)
        if attempt.end_predecessor(self.takes_over_from, work.run_folder):
            told = f"goes on where {self.takes_over_from} stopped: its process died without a word"
            note_devices(attempt.database, attempt.task, told)

    def _builds(self) -> tuple[Build, list[Build]]:
        """How this task runs the stage, and how else a result as good may have been made."""
        try:
            policy = DevicePolicy(self.device_policy)
            parameters = full_parameters(self.stage, self.parameters)
        except (ValueError, ValidationError) as error:
            raise AirflowFailException(str(error)) from error
        self.image = image_for(self.stage, self.variant)
        own = find_build(self.cli, self.stage, self.variant, parameters)
        if own is None:
            raise AirflowFailException(
                f"the engine must hold the stage's image: {self.image} is missing; build it with `make images`"
            )
        equal = equal_variants(self.stage, self.variant, policy)
        others = [find_build(self.cli, self.stage, variant, parameters) for variant in equal]
        return own, [build for build in others if build]

    @contextlib.contextmanager
    def _hold_device(self, work: Work, build: Build, found: FoundContainer | None) -> Iterator[DeviceHold]:
        """The device to compute on, held until the block ends."""
        yield DeviceHold()

    def _run_or_stand_aside(
        self, work: Work, build: Build, plan: StagePlan, found: FoundContainer | None
    ) -> tuple[Verdict, dict[str, StageItem]]:
        """Run or join the container, unless others go first; one that runs already is asked to end.

        Raises:
            MustStandAside: it must not begin now.
        """
        if found is None:
            work.way.require()
        with self._hold_device(work, build, found) as hold:
            verdict, made = self._run_container(work, hold, build, plan, found)
        return work.way.explain(verdict), made

    def _run_container(
        self, work: Work, hold: DeviceHold, build: Build, plan: StagePlan, found: FoundContainer | None
    ) -> tuple[Verdict, dict[str, StageItem]]:
        """Start or join the container, wait for its end, and collect."""
        task = work.attempt.task
        started_by = found.started_by if found else task.try_number
        self.attempt_folder = work.run_folder.attempt(task.model_copy(update={"try_number": started_by}))
        work.attempt.use_device(hold.device)
        if found:
            hold.attend(work.container)
            self.log.info("Joined container %s of try %d", work.container.container_id, started_by)
        else:
            try:
                self._start_container(work, hold, build, plan)
            except GpuRefused as error:
                refused = Verdict(Action.FAIL, AttemptOutcome.DEVICE_FAILED, str(error))
                hold.conclude(refused, DeviceFault.BROKEN)
                return refused, {}
        work.attempt.follow_container(str(work.container.container_id), started_by)
        hold.confirm()
        return self._follow(work, hold)

    def _start_container(self, work: Work, hold: DeviceHold, build: Build, plan: StagePlan) -> None:
        request = self._request(work, hold, build[0], plan)
        folder = work.run_folder.attempt(request.task)
        folder.mkdir(parents=True, exist_ok=True)
        for name in OF_ONE_CONTAINER:
            # The same try may have had a container before it stepped aside.
            (folder / name).unlink(missing_ok=True)
        write_durably(folder / "request.json", request.model_dump_json(indent=1))
        for item in request.items:
            (work.places.results / "assets" / item.asset_id / self.stage).mkdir(parents=True, exist_ok=True)
        limits = container_limits()
        self._stop_if_cancelled()
        work.container.create(
            image=self.image,
            labels=work.identity.labels | {DEVICE_LABEL: hold.device},
            user=STAGE_USER,
            command=["--request", "/work/request.json"],
            environment=environment(limits),
            host_config=self.cli.create_host_config(
                mounts=mounts(work.places, str(folder.relative_to(work.places.work)), self.stage, request.items),
                device_requests=gpu_request(hold.device),
                **restrictions(limits),
            ),
        )
        hold.attend(work.container)
        self._stop_if_cancelled()
        work.container.start(hold.device)
        self._stop_if_cancelled()
        self.log.info(
            "Started container %s (%s on %s) for %d items",
            work.container.container_id,
            self.image,
            hold.device,
            len(request.items),
        )

    def _request(self, work: Work, hold: DeviceHold, choice: StageChoice, plan: StagePlan) -> StageRequest:
        return StageRequest(
            stage=self.stage,
            task=work.attempt.task,
            variant=self.variant,
            device=hold.device,
            need_mib=hold.need_mib,
            compute_type=choice.compute_type,
            smaller_compute_type=choice.smaller_compute_type,
            batch_size=hold.batch_size or default_batch_size(self.stage, self.variant),
            parameters=dict(choice.parameters),
            submitted_at=datetime.now(UTC),
            items=plan.waiting,
        )

    def _follow(self, work: Work, hold: DeviceHold) -> tuple[Verdict, dict[str, StageItem]]:
        """Pass on the container's log until it ends, then collect what it made."""
        attempt, folder = work.attempt, self.attempt_folder
        if folder is None:
            raise AirflowFailException("a container must have a folder before it is followed")
        ended: EndedContainer | None = None
        try:
            ended = work.container.follow(
                lambda line: self.log.info("%s", line), lambda: hold.is_given_up, lambda: work.way.attend(folder)
            )
            attempt.exit_code = ended.exit_code
        except ContainerRemoved as error:
            reason = "the task was cancelled" if self.cancelled else "somebody removed the container"
            raise AirflowException(f"{reason} before it ended; finished items are kept") from error
        except ContainerStuck as error:
            self.log.warning("%s; going on without it", error)
        finally:
            # However it ended, the time was spent.
            last_phase_ended_at = attempt.adopt(read_phases(folder / PHASES_FILE))
        outcome = _read_outcome(folder) if ended else None
        # Leaving Python takes a second with large libraries. Of a process that was killed, that span is lost work.
        ended_at = last_phase_ended_at if outcome else ended.finished_at if ended else datetime.now(UTC)
        with attempt.phase(Phase.COLLECT, since=ended_at):
            asked = StageRequest.model_validate_json((folder / "request.json").read_bytes()).items
            told = _judge(ended, outcome, hold, {}).message
            items = after_container(work.places.results, self.stage, asked, outcome, told)
        verdict = _judge(ended, outcome, hold, items)
        hold.conclude(verdict, outcome.device_fault if outcome else None)
        return verdict, items

    def _conclude(self, context: Context, verdict: Verdict) -> str:
        match verdict.action:
            case Action.SUCCEED:
                return verdict.message
            case Action.SKIP:
                raise AirflowSkipException(verdict.message)
            case Action.RETRY:
                raise AirflowException(verdict.message)
            case Action.FAIL:
                raise AirflowFailException(verdict.message)
            case Action.STEP_ASIDE:
                return self._wait_for_room(context, verdict)

    def _wait_for_room(self, context: Context, verdict: Verdict) -> NoReturn:
        """Give the slot back until there is room. Nothing is left behind that a cancelled task would have to remove."""
        asker = Asker(task_key(context), self.stage, self.variant)
        aside_since = datetime.now(UTC).isoformat()
        note_aside(asker.task, f"waits: {verdict.message}")
        self.defer(trigger=RoomTrigger.of(asker), method_name=self.resume.__name__, kwargs={"aside_since": aside_since})

    def on_kill(self) -> None:
        """Cancelled or out of time: the container goes, within the supervisor's window."""
        self.cancelled = True
        if self.work is None or self.work.container.container_id is None:
            return
        self._stop_on_purpose(self.work.container)
        self.work.container.remove()

    def _stop_on_purpose(self, container: StageContainer) -> None:
        """Stop it, and leave word that no item killed it."""
        if self.attempt_folder and self.attempt_folder.is_dir():
            (self.attempt_folder / STOPPED_FILE).touch()
        container.stop()

    def _stop_if_cancelled(self) -> None:
        # Airflow calls on_kill from a signal handler and lets us go on: the container may come after it.
        if not self.cancelled:
            return
        if self.work and self.work.container.container_id:
            self.work.container.remove()
        raise AirflowException("the task was cancelled before its container ran")


def _judge(
    ended: EndedContainer | None, outcome: StageOutcome | None, hold: DeviceHold, items: Mapping[str, StageItem]
) -> Verdict:
    lost = hold.lost
    if ended is None or (lost and ended.exit_code not in (ExitCode.DONE, ExitCode.ALL_REJECTED)):
        return lost or Verdict(Action.FAIL, AttemptOutcome.FAILED, "the container did not end")
    return judge(ended.exit_code, outcome, ended.out_of_memory, items)


def _read_outcome(folder: Path) -> StageOutcome | None:
    path = folder / OUTCOME_FILE
    return StageOutcome.model_validate_json(path.read_bytes()) if path.exists() else None
