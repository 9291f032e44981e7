"""Runs a stage on a GPU that it leases, and leaves to the CPU what the GPU cannot do."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, DownstreamTasksSkipped
from sqlalchemy import Engine

from operators.attempt import Attempt
from operators.errors import NightreelError
from operators.gpu.agent_client import ask_agent
from operators.gpu.breaker_store import observe
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.device_notes import note_devices
from operators.gpu.lease import Grant, LeaseRequest, Refusal, ask, held_leases, reclaim, release, try_grant
from operators.gpu.lease_hold import LeaseHold
from operators.gpu.needs import measured_needs, need_mib
from operators.gpu.routing_store import routing
from operators.routing import DevicePolicy
from operators.shard import StageItem
from operators.stage_container import FoundContainer, is_running
from operators.stage_operator import DeviceHold, StageOperator, Work
from operators.stage_plan import Action, AttemptOutcome, Build, Verdict
from stage_contract.resources import default_batch_size
from stage_contract.vocabulary import Phase, Variant

ASK_EVERY_S = 1.0


class MovedToCpu(NightreelError):
    """The work goes to the CPU before it has begun here."""


class CollectedHold(DeviceHold):
    """Of a container that has ended already, on this device: only its results are still to be had."""

    def __init__(self, device: str) -> None:
        self.device = device


class GpuStageOperator(StageOperator):
    """One stage over the run's shard, on one leased GPU.

    The lease is waited for in Postgres, after the pool let the task in. When the device fails, the task
    fails with its reason and the CPU's task goes on with what is left; when nothing is left, that task is
    skipped. Work that has not begun when the GPUs go out of service is handed over: the task is skipped.

    :param hands_over_to: id of the CPU's task of the same stage.
    """

    variant = Variant.CUDA

    def __init__(self, *, hands_over_to: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hands_over_to = hands_over_to

    def _run_shard(self, attempt: Attempt, context: Context) -> tuple[Verdict, dict[str, StageItem]]:
        try:
            self._obey_routing(attempt)
            return super()._run_shard(attempt, context)
        except MovedToCpu as moved:
            return Verdict(Action.SKIP, AttemptOutcome.MOVED, f"handed over to the CPU: {moved}"), {}

    def _obey_routing(self, attempt: Attempt) -> None:
        """A change of routing counts for work that has not begun, though the GPU was chosen before it."""
        is_routed_away = routing(attempt.database)[self.stage] is DevicePolicy.CPU
        if is_routed_away and self.device_policy == DevicePolicy.AUTO:
            raise MovedToCpu(f"{self.stage} was routed to the CPU meanwhile")

    @contextlib.contextmanager
    def _hold_device(self, work: Work, build: Build, found: FoundContainer | None) -> Iterator[DeviceHold]:
        database = work.attempt.database
        configuration = GpuConfiguration.from_environment()
        request = self._lease_request(work, build, configuration)
        lease_id = self._ask(database, configuration, request, is_begun=found is not None)
        if found and not found.is_running:
            try:
                yield CollectedHold(found.device)
            finally:
                release(database, lease_id)
            return
        with work.attempt.phase(Phase.LEASE):
            grant = self._wait_for_grant(work, configuration, lease_id, found)
        with LeaseHold(database, configuration, grant, request.need_mib, self._stop_on_purpose) as hold:
            work.attempt.use_device(grant.device_uuid, grant.lease_id)
            yield hold

    def _ask(self, database: Engine, configuration: GpuConfiguration, request: LeaseRequest, is_begun: bool) -> int:
        """Join the queue, or go on with an earlier try's lease.

        Work that has not begun and was found to need more meanwhile asks anew.
        """
        lease_id = ask(database, request)
        if is_begun or configuration.whole_device:
            return lease_id
        held = (lease for leases in held_leases(database).values() for lease in leases)
        if any(lease.lease_id == lease_id and lease.leased_mib < request.need_mib for lease in held):
            release(database, lease_id)
            return ask(database, request)
        return lease_id

    def _lease_request(self, work: Work, build: Build, configuration: GpuConfiguration) -> LeaseRequest:
        choice, image = build
        models = tuple(sorted(model.name for model in image.models))
        batch_size = default_batch_size(self.stage, self.variant)
        measured = measured_needs(work.attempt.database)
        return LeaseRequest(
            task=work.attempt.task,
            stage=self.stage,
            models=models,
            compute_type=choice.compute_type,
            batch_size=batch_size,
            need_mib=need_mib(self.stage, models, choice.compute_type, batch_size, measured, configuration),
            priority=self.priority_weight,
            container_name=work.identity.name,
        )

    def _wait_for_grant(
        self, work: Work, configuration: GpuConfiguration, lease_id: int, found: FoundContainer | None
    ) -> Grant:
        """Wait until a device is free for the work.

        Raises:
            MovedToCpu: no device will be, within the patience.
            AirflowException: the container that was joined has lost its device.
        """
        database = work.attempt.database
        started_s = time.monotonic()
        told = ""
        try:
            while True:
                self._stop_if_cancelled()
                health = ask_agent(configuration.agent_url)
                observe(database, health, configuration.breaker_wait_s)
                reclaim(database, lambda name: is_running(self.cli, name))
                answer = try_grant(database, lease_id, configuration, health)
                if isinstance(answer, Grant):
                    if found and found.device != answer.device_uuid:
                        raise AirflowException(
                            f"container {work.container.container_id} runs on {found.device}, whose lease is gone; "
                            "it was removed, what it finished is kept"
                        )
                    self.log.info("Leased %d MiB on %s", answer.leased_mib, answer.device_uuid)
                    return answer
                if answer.reason != told:
                    self.log.info("Waiting for a GPU: %s", answer.reason)
                    told = answer.reason
                waited_s = time.monotonic() - started_s
                if self._is_hopeless(answer, waited_s, configuration):
                    raise MovedToCpu(answer.reason)
                time.sleep(ASK_EVERY_S)
        except BaseException:
            if found:
                self._stop_on_purpose(work.container)
                work.container.remove()
            release(database, lease_id, "withdrawn")
            raise

    def _is_hopeless(self, refusal: Refusal, waited_s: float, configuration: GpuConfiguration) -> bool:
        """Whether to stop waiting: own work ends some time, anything else may last."""
        if refusal.blocked_by == "own_work":
            return False
        return refusal.is_hopeless or waited_s >= configuration.patience_s

    def _conclude(self, context: Context, verdict: Verdict) -> str:
        if verdict.outcome in (AttemptOutcome.DEVICE_FAILED, AttemptOutcome.MOVED) and self.work:
            note_devices(self.work.attempt.database, self.work.attempt.task, verdict.message)
        if verdict.action is Action.SUCCEED:
            # The exception keeps Airflow from storing what is returned.
            context["ti"].xcom_push(key="return_value", value=verdict.message)
            raise DownstreamTasksSkipped(tasks=[self.hands_over_to])  # type: ignore[no-untyped-call]
        return super()._conclude(context, verdict)
