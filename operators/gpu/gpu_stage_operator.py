"""Runs a stage on a GPU that it leases, and leaves to the CPU what the GPU cannot do."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, DownstreamTasksSkipped
from sqlalchemy import Engine

from operators.attempt import Attempt
from operators.device_hold import DeviceHold
from operators.errors import NightreelError
from operators.gpu.asking import ASK_EVERY_S, ask_once, batch_now, is_over, lease_request, patient
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.device_notes import note_devices
from operators.gpu.lease import Grant, LeaseRequest, Refusal, ask, held_leases, release
from operators.gpu.lease_hold import LeasedDevice, LeaseHold
from operators.gpu.routing_store import routing
from operators.gpu.standing import Hindrance
from operators.right_of_way import MustStandAside
from operators.routing import DevicePolicy
from operators.shard import StageItem
from operators.stage_container import FoundContainer
from operators.stage_operator import StageOperator, Work
from operators.stage_plan import Action, AttemptOutcome, Build, Verdict
from stage_contract.vocabulary import Phase, Variant


class MovedToCpu(NightreelError):
    """The work goes to the CPU before it has begun here."""


class GpuStageOperator(StageOperator):
    """One stage over the run's shard, on one leased GPU.

    The lease is waited for in Postgres, after the pool let the task in; a task that steps aside gives it back.
    When the device fails, the task fails with its reason and the CPU's task goes on with what is left; when
    nothing is left, that task is skipped. Work that has not begun when the GPUs go out of service is handed
    over: the task is skipped.

    :param hands_over_to: id of the CPU's task of the same stage.
    """

    variant = Variant.CUDA

    def __init__(self, *, hands_over_to: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hands_over_to = hands_over_to

    def _run_shard(self, attempt: Attempt, context: Context) -> tuple[Verdict, dict[str, StageItem]]:
        try:
            return super()._run_shard(attempt, context)
        except MovedToCpu as moved:
            return Verdict(Action.SKIP, AttemptOutcome.MOVED, f"handed over to the CPU: {moved}"), {}

    @contextlib.contextmanager
    def _hold_device(self, work: Work, build: Build, found: FoundContainer | None) -> Iterator[DeviceHold]:
        database = work.attempt.database
        policy = self._policy(database)
        configuration = patient(GpuConfiguration.from_environment(), policy)
        if found is None and policy is DevicePolicy.CPU:
            raise MovedToCpu(f"{self.stage} was routed to the CPU meanwhile")
        request = self._lease_request(work, build, configuration)
        lease_id = self._ask(database, request, is_begun=found is not None)
        if found and not found.is_running:
            try:
                yield LeasedDevice(database, configuration, found.device, lease_id)
            finally:
                release(database, lease_id)
            return
        with work.attempt.phase(Phase.LEASE):
            grant = self._wait_for_grant(work, configuration, policy, lease_id, found)
        with LeaseHold(database, configuration, grant, request, self._stop_on_purpose) as hold:
            work.attempt.use_device(grant.device_uuid, grant.lease_id)
            yield hold

    def _policy(self, database: Engine) -> DevicePolicy:
        """What is in force now. The GPU was chosen a while ago: work that has not begun obeys what changed since."""
        wish = DevicePolicy(self.device_policy)
        return routing(database)[self.stage] if wish is DevicePolicy.AUTO else wish

    def _ask(self, database: Engine, request: LeaseRequest, is_begun: bool) -> int:
        """Join the queue, keep an earlier try's place in it, or go on with the lease that its container runs under.

        What was granted to a try whose container is gone is given back: device, need and breaker may have changed.
        """
        lease_id = ask(database, request)
        held = (lease for leases in held_leases(database).values() for lease in leases)
        if is_begun or all(lease.lease_id != lease_id for lease in held):
            return lease_id
        release(database, lease_id)
        return ask(database, request)

    def _lease_request(self, work: Work, build: Build, configuration: GpuConfiguration) -> LeaseRequest:
        choice, image = build
        batch = batch_now(work.attempt.database, configuration, self.stage, image.models, choice.compute_type)
        return lease_request(work.attempt.task, batch, self.priority_weight, work.identity.name)

    def _wait_for_grant(
        self,
        work: Work,
        configuration: GpuConfiguration,
        policy: DevicePolicy,
        lease_id: int,
        found: FoundContainer | None,
    ) -> Grant:
        """Wait until a device is free for the work.

        Raises:
            MovedToCpu: no device will be, within the patience.
            MustStandAside: others go first, and it has not begun.
            AirflowException: the task was cancelled, or the container that was joined has lost its device.
        """
        try:
            return self._grant_in_time(work, configuration, policy, lease_id, found)
        except (MovedToCpu, MustStandAside, AirflowException):
            if found:
                self._stop_on_purpose(work.container)
                work.container.remove()
            if not work.container.is_running():
                release(work.attempt.database, lease_id, "withdrawn")
            raise

    def _grant_in_time(
        self,
        work: Work,
        configuration: GpuConfiguration,
        policy: DevicePolicy,
        lease_id: int,
        found: FoundContainer | None,
    ) -> Grant:
        database = work.attempt.database
        hindered_since_s = time.monotonic()
        told = ""
        while True:
            self._stop_if_cancelled()
            if found is None:
                # It computes nothing, but holds slots of the pool.
                work.way.require()
            answer = ask_once(database, self.cli, configuration, lease_id)
            if isinstance(answer, Grant) and (found is None or found.device == answer.device_uuid):
                self.log.info("Leased %d MiB on %s", answer.leased_mib, answer.device_uuid)
                return answer
            if found:
                # It computes where nothing is leased to it: it must end before others are let in there.
                raise AirflowException(
                    f"container {work.container.container_id} runs on {found.device}, which is not leased to it any "
                    "more; it is stopped, what it finished is kept, and the next try goes on"
                )
            if isinstance(answer, Refusal):
                if answer.reason != told:
                    self.log.info("Waiting for a GPU: %s", answer.reason)
                    told = answer.reason
                if answer.blocked_by is Hindrance.OWN_WORK:
                    # That ends some time. Patience is for the rest, and begins with it.
                    hindered_since_s = time.monotonic()
                hindered_s = time.monotonic() - hindered_since_s
                if is_over(answer, policy) or hindered_s >= configuration.patience_s:
                    raise MovedToCpu(answer.reason)
            time.sleep(ASK_EVERY_S)

    def _conclude(self, context: Context, verdict: Verdict) -> str:
        if verdict.action is Action.SUCCEED:
            # The exception keeps Airflow from storing what is returned.
            context["ti"].xcom_push(key="return_value", value=verdict.message)
            raise DownstreamTasksSkipped(tasks=[self.hands_over_to])  # type: ignore[no-untyped-call]
        if self.work and verdict.outcome not in (AttemptOutcome.REJECTED, AttemptOutcome.STEPPED_ASIDE):
            note_devices(self.work.attempt.database, self.work.attempt.task, verdict.message)
        return super()._conclude(context, verdict)
