"""Chooses for one stage of a run between the GPU's task and the CPU's, and says why."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import docker
from airflow.sdk import BaseSensorOperator, BranchMixIn, Context
from airflow.triggers.base import BaseTrigger, TriggerEvent
from pydantic import TypeAdapter

from operators.attempt import Attempt
from operators.database import Database, connect
from operators.gpu.agent_client import ask_agent
from operators.gpu.asking import batch_now
from operators.gpu.breaker_store import breakers, observe
from operators.gpu.choice import INSISTENCE, Branch, BranchDecision, BranchQuestion, choose_branch
from operators.gpu.choice_store import save_choice
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.device_notes import note_devices
from operators.gpu.lease import held_leases, reclaim
from operators.gpu.routing_store import routing
from operators.routing import DevicePolicy, image_for
from operators.settings import folders
from operators.shard import RunFolder
from operators.stage_container import is_running
from operators.stage_image import inspect_stage_image
from operators.stage_plan import AttemptOutcome
from stage_contract.gpu_health import HealthVerdict, HostHealth
from stage_contract.resources import DEFAULT_COMPUTE_TYPE
from stage_contract.vocabulary import Phase, Stage, Variant

# Also keeps the trigger from firing at once, which under load can leave the task deferred for good:
# https://github.com/apache/airflow/issues/71580
ASK_EVERY_S = 2.0
# Beyond the patience: what the triggerer may need to find that it is over.
LATEST_S = 120.0
DECISION = TypeAdapter(BranchDecision)


@dataclass(frozen=True)
class Inquiry:
    """What is asked about until it is decided. Plain values: it travels to the triggerer."""

    stage: str
    run_policy: str
    need_mib: int
    began_at: str

    @property
    def waited_s(self) -> float:
        """Since the first time it was asked, by the clock: two processes ask in turn."""
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(self.began_at)).total_seconds())


def look(database: Database, inquiry: Inquiry) -> BranchQuestion:
    """Ask the agent and the database how things stand now. A fault that is seen opens its device's breaker."""
    configuration = GpuConfiguration.from_environment()
    stage = Stage(inquiry.stage)
    health = HostHealth(observed_at=datetime.now(UTC), verdict=HealthVerdict.UNKNOWN)
    if configuration.devices:
        health = ask_agent(configuration.agent_url)
        observe(database, health, configuration.breaker_wait_s)
    return BranchQuestion(
        stage=stage,
        need_mib=inquiry.need_mib,
        run_policy=DevicePolicy(inquiry.run_policy),
        routed=routing(database)[stage],
        configuration=configuration,
        health=health,
        breakers=breakers(database),
        leases=held_leases(database),
        waited_s=inquiry.waited_s,
        now=datetime.now(UTC),
    )


class GpuChoiceTrigger(BaseTrigger):
    """Fires when the choice is made, at the latest when the patience is over."""

    def __init__(self, inquiry: dict[str, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.inquiry = inquiry

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How the triggerer makes it again."""
        return "operators.gpu.gpu_sensor.GpuChoiceTrigger", {"inquiry": self.inquiry}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask every two seconds. The event is the decision."""
        database, inquiry = connect(), Inquiry(**self.inquiry)
        while True:
            await asyncio.sleep(ASK_EVERY_S)
            decision = choose_branch(await asyncio.to_thread(look, database, inquiry))
            if decision.branch is not Branch.WAIT:
                yield TriggerEvent(DECISION.dump_python(decision, mode="json"))  # type: ignore[no-untyped-call]
                return
            self.log.info("%s", decision.reason)


class GpuHealthSensor(BaseSensorOperator, BranchMixIn):
    """Waits, deferred, until a GPU is usable for the stage or the patience is over; then branches.

    The choice and its reason are kept in Postgres, and shown as notes on the task and on the run. For lack
    of a GPU it never fails: then the CPU's task runs.

    :param stage: the stage to choose for.
    :param gpu_task_id: the task to follow when a GPU is usable; the CPU's task comes after it.
    :param cpu_task_id: the task to follow when none is.
    :param device_policy: the run's own wish: ``auto``, ``cpu`` or ``gpu`` (templated).
    """

    template_fields: Sequence[str] = ("device_policy",)
    ui_color = "#f7ecd9"
    # Without it, a cleared task of the branch not taken would run.
    inherits_from_skipmixin: ClassVar[bool] = True

    def __init__(
        self, *, stage: Stage, gpu_task_id: str, cpu_task_id: str, device_policy: str = DevicePolicy.AUTO, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.stage = stage
        self.gpu_task_id = gpu_task_id
        self.cpu_task_id = cpu_task_id
        self.device_policy = device_policy

    def execute(self, context: Context) -> Any:
        """Choose at once where that is possible, else wait in the triggerer."""
        attempt = Attempt.begin(context)
        began_at = datetime.now(UTC)
        try:
            is_asked_for = self._prepare(attempt)
            inquiry = Inquiry(self.stage, str(self.device_policy), self._need_mib(attempt), began_at.isoformat())
            question = look(attempt.database, inquiry)
            decision = self._decide(question)
            if not is_asked_for:
                attempt.finish(AttemptOutcome.DONE, f"{self.stage}: not asked for in this run")
            elif decision.branch is not Branch.WAIT:
                self._keep(attempt, question, decision, began_at)
        except BaseException as error:
            attempt.finish(AttemptOutcome.FAILED, str(error) or type(error).__name__)
            raise
        if not is_asked_for:
            return self.do_branch(context, [])
        if decision.branch is Branch.WAIT:
            self.log.info("%s", decision.reason)
            attempt.pause()
            self.defer(
                trigger=GpuChoiceTrigger(asdict(inquiry)),
                method_name="resume",
                kwargs={"inquiry": asdict(inquiry)},
                # The routing may become more patient on the way.
                timeout=timedelta(seconds=question.configuration.patience_s * INSISTENCE + LATEST_S),
            )
        return self._follow(context, decision)

    def resume(self, context: Context, event: dict[str, Any], inquiry: dict[str, Any]) -> Any:
        """The triggerer has decided."""
        asked = Inquiry(**inquiry)
        began_at = datetime.fromisoformat(asked.began_at)
        attempt = Attempt.resume(context, began_at)
        try:
            decision: BranchDecision = DECISION.validate_python(event)
            self._keep(attempt, look(attempt.database, asked), decision, began_at)
        except BaseException as error:
            attempt.finish(AttemptOutcome.FAILED, str(error) or type(error).__name__)
            raise
        return self._follow(context, decision)

    def _prepare(self, attempt: Attempt) -> bool:
        """Forget what the stage made in an earlier go. Returns whether it is asked for in this one."""
        run_folder = RunFolder(folders().work, attempt.task.dag_id, attempt.task.run_id)
        run_folder.forget_index(self.stage)
        shard = run_folder.read_shard()
        return shard is not None and self.stage in shard.stages

    def _need_mib(self, attempt: Attempt) -> int:
        """VRAM that the stage takes with the models of its image; 0 where there is no GPU or no such image."""
        configuration = GpuConfiguration.from_environment()
        if not configuration.devices:
            return 0
        with docker.APIClient() as engine:
            # A device whose trial died is free again only when somebody takes its lease back.
            reclaim(attempt.database, lambda name: is_running(engine, name))
            image = inspect_stage_image(engine, self.stage, Variant.CUDA)
        if image is None:
            return 0
        compute_type = DEFAULT_COMPUTE_TYPE[self.stage, Variant.CUDA]
        return batch_now(attempt.database, configuration, self.stage, image.models, compute_type).need.mib

    def _decide(self, question: BranchQuestion) -> BranchDecision:
        decision = choose_branch(question)
        if decision.branch is Branch.CPU or question.need_mib:
            return decision
        image = image_for(self.stage, Variant.CUDA)
        reason = f"{self.stage} runs on the CPU: image {image} is missing; build it with `make images VARIANT=cuda`"
        return BranchDecision(Branch.CPU, reason)

    def _keep(self, attempt: Attempt, question: BranchQuestion, decision: BranchDecision, began_at: datetime) -> None:
        """Record the choice, and show it where there was one to make."""
        self.log.info("%s", decision.reason)
        with attempt.phase(Phase.BRANCH, since=began_at):
            save_choice(attempt.database, attempt.task, question, decision)
            if question.configuration.devices:
                note_devices(attempt.database, attempt.task, decision.reason)
        attempt.finish(AttemptOutcome.DONE, decision.reason)

    def _follow(self, context: Context, decision: BranchDecision) -> Any:
        # Pushed by hand: Airflow does not store what is returned when a branch is skipped.
        context["ti"].xcom_push(key="reason", value=decision.reason)
        return self.do_branch(context, self.gpu_task_id if decision.branch is Branch.GPU else self.cpu_task_id)
