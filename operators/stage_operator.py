"""Runs one stage of one shard in a container: files in, files out, the exit code decides."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from docker.errors import APIError, ImageNotFound, NotFound
from pydantic import ValidationError

from operators.attempt import Attempt
from operators.container import (
    STAGE_USER,
    TRY_LABEL,
    ContainerIdentity,
    environment,
    gpu_request,
    mounts,
    restrictions,
)
from operators.errors import ChoiceInvalid
from operators.links import OutputsLink
from operators.routing import INPUTS, DevicePolicy, choose_variant, image_for
from operators.settings import Folders, container_limits, folders, gpu_devices, stack_name
from operators.shard import RunFolder, StageIndex, StageItem
from operators.stage_plan import (
    STOPPED_FILE,
    Action,
    AttemptOutcome,
    StageChoice,
    StageImage,
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
from stage_contract.models import MODELS_LABEL, STAGES_LABEL, parse_models
from stage_contract.phases import PHASES_FILE, read_phases
from stage_contract.request import StageRequest, TaskKey
from stage_contract.resources import DEFAULT_COMPUTE_TYPE
from stage_contract.result import OUTCOME_FILE, StageOutcome
from stage_contract.vocabulary import ItemOutcome, Phase, Stage, Variant
from stage_contract.workspace import write_durably

# The supervisor kills a task five seconds after asking it to stop.
STOP_TIMEOUT_S = 2


class StageOperator(DockerOperator):
    """One stage over the run's shard, in one container.

    Assets with a complete result are not processed again; when all have one, no container starts.
    The container outlives the death of this process, and the retry joins it. Cancelling the task, or
    its time-out, removes the container.

    :param stage: what to run, for instance ``audio.transcribe``.
    :param device_policy: ``auto``, ``cpu`` or ``gpu`` (templated).
    :param parameters: the stage's own parameters, see ``stage_contract.parameters`` (templated).
    """

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
        **kwargs: Any,
    ) -> None:
        super().__init__(image=image_for(stage, Variant.CPU), mount_tmp_dir=False, auto_remove="never", **kwargs)
        self.stage = stage
        self.device_policy = device_policy
        self.parameters = dict(parameters or {})
        self.cancelled = False
        self.attempt_folder: Path | None = None

    def execute(self, context: Context) -> str:
        """Plan, run or join the container, record what happened.

        Returns:
            One line: how many assets ended how.

        Raises:
            AirflowSkipException: there is nothing to do, or every asset was rejected.
            AirflowFailException: a retry would not help.
            AirflowException: a retry may help.
        """
        attempt = Attempt.begin(context, self.stage)
        try:
            verdict, items = self._run_shard(attempt, first_try(context))
        except BaseException as error:  # a time-out is none of Exception's
            outcome = AttemptOutcome.CANCELLED if self.cancelled else AttemptOutcome.FAILED
            attempt.finish(outcome, message=str(error) or type(error).__name__)
            raise
        attempt.finish(verdict.outcome, message=verdict.message, items=items)
        if self.container:
            # Only now: were the database away, the next try would find the container and its phases again.
            self._remove(self.container["Id"])
        return self._conclude(verdict)

    def _run_shard(self, attempt: Attempt, first_try_number: int) -> tuple[Verdict, dict[str, StageItem]]:
        places = folders()
        run_folder = RunFolder(places.work, attempt.task.dag_id, attempt.task.run_id)
        run_folder.forget_index(self.stage)
        shard = run_folder.read_shard()
        if shard is None or self.stage not in shard.stages:
            reason = "there is no shard: find_assets did not end" if shard is None else "not asked for in this run"
            return Verdict(Action.SKIP, AttemptOutcome.DONE, f"{self.stage}: {reason}"), {}
        identity = ContainerIdentity(stack_name(), attempt.task)
        started_by = self._find_container(identity)
        with attempt.phase(Phase.PREPARE):
            choice, variant = self._choose()
            self.image = image_for(self.stage, variant)
            image = self._inspect_image()
            attempt.describe(variant, image, choice.compute_type)
            upstream = {needed: run_folder.read_index(needed) for needed in INPUTS[self.stage]}
            plan = plan_stage(places.results, shard, upstream, choice, image)
            items = dict(plan.complete)
            if started_by is None:
                tries = run_folder.tries(attempt.task, first_try_number)
                plan, given_up = set_aside_killers(plan, tries)
                items |= given_up
        if started_by is None and plan.waiting:
            request = self._request(attempt.task, choice, variant, plan)
            self._start_container(places, run_folder, request, identity)
            started_by = attempt.task.try_number
        if started_by is None:
            verdict = without_container(self.stage, items)
        else:
            attempt.follow_container(self.container["Id"], started_by)
            verdict, made = self._follow(attempt, places, run_folder, started_by)
            not_asked = {
                item.asset_id: StageItem(fingerprint=item.fingerprint, outcome=ItemOutcome.LEFT, message="not begun")
                for item in plan.waiting
            }
            items = {**not_asked, **items, **made}
        run_folder.write_index(StageIndex(stage=self.stage, items=items))
        return over_all(verdict, items), items

    def _choose(self) -> tuple[StageChoice, Variant]:
        try:
            variant = choose_variant(self.stage, DevicePolicy(self.device_policy), gpu_devices())
            parameters = full_parameters(self.stage, self.parameters)
        except (ChoiceInvalid, ValidationError) as error:
            raise AirflowFailException(str(error)) from error
        return StageChoice(self.stage, DEFAULT_COMPUTE_TYPE[self.stage, variant], parameters), variant

    def _inspect_image(self) -> StageImage:
        try:
            found = self.cli.inspect_image(self.image)
        except ImageNotFound as error:
            raise AirflowFailException(
                f"the engine must hold the stage's image: {self.image} is missing; build it with `make images`"
            ) from error
        labels = found["Config"]["Labels"] or {}
        versions = json.loads(labels.get(STAGES_LABEL, "{}"))
        if self.stage not in versions:
            raise AirflowFailException(
                f"an image must name its stages in label {STAGES_LABEL}: {self.image} does not name {self.stage}; "
                "build it again with `make images`"
            )
        version = versions[self.stage]
        models = parse_models(labels.get(MODELS_LABEL, "[]"))
        return StageImage(self.image, found["Id"], version, tuple(models.values()))

    def _request(self, task: TaskKey, choice: StageChoice, variant: Variant, plan: StagePlan) -> StageRequest:
        return StageRequest(
            stage=self.stage,
            task=task,
            variant=variant,
            compute_type=choice.compute_type,
            parameters=dict(choice.parameters),
            submitted_at=datetime.now(UTC),
            items=plan.waiting,
        )

    def _find_container(self, identity: ContainerIdentity) -> int | None:
        """Join the container that an earlier try left, running or ended. Returns the try that started it."""
        try:
            found = self.cli.inspect_container(identity.name)
        except NotFound:
            return None
        if found["State"]["Status"] == "created":
            # The earlier try died between create and start: nothing is lost with it.
            self._remove(found["Id"])
            return None
        self.container = found
        started_by = int(found["Config"]["Labels"][TRY_LABEL])
        self.log.info("Joined container %s of try %d (%s)", found["Id"], started_by, found["State"]["Status"])
        return started_by

    def _start_container(
        self, places: Folders, run_folder: RunFolder, request: StageRequest, identity: ContainerIdentity
    ) -> None:
        attempt_folder = run_folder.attempt(request.task)
        attempt_folder.mkdir(parents=True, exist_ok=True)
        write_durably(attempt_folder / "request.json", request.model_dump_json(indent=1))
        for item in request.items:
            (places.results / "assets" / item.asset_id / self.stage).mkdir(parents=True, exist_ok=True)
        limits = container_limits()
        gpus = gpu_devices() if request.variant is Variant.CUDA else ()
        self._stop_if_cancelled()
        self.container = self.cli.create_container(
            image=self.image,
            name=identity.name,
            labels=identity.labels,
            user=STAGE_USER,
            command=["--request", "/work/request.json"],
            environment=environment(limits),
            host_config=self.cli.create_host_config(
                mounts=mounts(places, str(attempt_folder.relative_to(places.work)), self.stage, request.items),
                device_requests=gpu_request(gpus),
                **restrictions(limits),
            ),
        )
        self._stop_if_cancelled()
        self.cli.start(self.container["Id"])
        self._stop_if_cancelled()
        self.log.info("Started container %s (%s) for %d items", self.container["Id"], self.image, len(request.items))

    def _follow(
        self, attempt: Attempt, places: Folders, run_folder: RunFolder, started_by: int
    ) -> tuple[Verdict, dict[str, StageItem]]:
        """Pass on the container's log until it ends, then collect what it made."""
        container = self.container["Id"]
        self.attempt_folder = run_folder.attempt(attempt.task.model_copy(update={"try_number": started_by}))
        try:
            for line in self.cli.logs(container, stream=True, follow=True):
                self.log.info("%s", line.decode(errors="replace").rstrip())
            attempt.exit_code = int(self.cli.wait(container)["StatusCode"])
            state = self.cli.inspect_container(container)["State"]
        except NotFound as error:
            reason = "the task was cancelled" if self.cancelled else "somebody removed the container"
            raise AirflowException(f"{reason} before it ended; finished items are kept") from error
        finally:
            # However it ended, the time was spent.
            last_phase_ended_at = attempt.adopt(read_phases(self.attempt_folder / PHASES_FILE))
        outcome = _read_outcome(self.attempt_folder)
        # Leaving Python takes a second with large libraries. Of a process that was killed, that span is lost work.
        ended_at = last_phase_ended_at if outcome else datetime.fromisoformat(state["FinishedAt"])
        with attempt.phase(Phase.COLLECT, since=ended_at):
            asked = StageRequest.model_validate_json((self.attempt_folder / "request.json").read_bytes()).items
            told = judge(attempt.exit_code, outcome, state["OOMKilled"], {}).message
            items = after_container(places.results, self.stage, asked, outcome, told)
        return judge(attempt.exit_code, outcome, state["OOMKilled"], items), items

    def _conclude(self, verdict: Verdict) -> str:
        match verdict.action:
            case Action.SUCCEED:
                return verdict.message
            case Action.SKIP:
                raise AirflowSkipException(verdict.message)
            case Action.RETRY:
                raise AirflowException(verdict.message)
            case Action.FAIL:
                raise AirflowFailException(verdict.message)

    def on_kill(self) -> None:
        """Cancelled or out of time: the container goes, within the supervisor's window."""
        self.cancelled = True
        if self.container is None:
            return
        if self.attempt_folder:
            (self.attempt_folder / STOPPED_FILE).touch()
        try:
            self.cli.stop(self.container["Id"], timeout=STOP_TIMEOUT_S)
        except (NotFound, APIError) as error:
            self.log.info("stop: %s", error)
        self._remove(self.container["Id"])

    def _stop_if_cancelled(self) -> None:
        # Airflow calls on_kill from a signal handler and lets us go on: the container may come after it.
        if not self.cancelled:
            return
        if self.container:
            self._remove(self.container["Id"])
        raise AirflowException("the task was cancelled before its container ran")

    def _remove(self, container: str) -> None:
        try:
            self.cli.remove_container(container, force=True)
        except NotFound:
            self.log.info("container %s is gone already", container)
        except APIError as error:
            # 409: a removal is under way already.
            self.log.info("container %s: %s", container, error)


def _read_outcome(folder: Path) -> StageOutcome | None:
    path = folder / OUTCOME_FILE
    return StageOutcome.model_validate_json(path.read_bytes()) if path.exists() else None


def first_try(context: Context) -> int:
    """The number of this go's first try: clearing a task begins a new go, and numbers run on."""
    running = context["ti"]
    return max(1, running.max_tries - (context["task"].retries or 0) + 1)
