"""One attempt at one task, as it is recorded: its phases, its waits, how it ended."""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from airflow.sdk import Context
from airflow.sdk.types import DagRunProtocol

from operators.database import connect
from operators.shard import RunFolder, StageItem
from operators.stage_plan import AttemptOutcome, StageImage
from operators.timings import (
    AttemptDetails,
    AttemptEnd,
    begin_attempt,
    describe_attempt,
    end_unheard_attempts,
    finish_attempt,
    last_finished,
    record_phases,
)
from stage_contract.phases import PHASES_FILE, PhaseRecord, read_phases
from stage_contract.request import TaskKey
from stage_contract.vocabulary import Phase, PhaseOutcome, Stage, Variant


class Attempt:
    """Collects what is known about an attempt and writes it to Postgres: its start at once, the rest at the end."""

    def __init__(self, task: TaskKey) -> None:
        self.task = task
        self.database = connect()
        self.exit_code: int | None = None
        self._phases: list[PhaseRecord] = []
        self._begun_at = datetime.now(UTC)

    @classmethod
    def begin(cls, context: Context, stage: Stage | None = None) -> "Attempt":
        """Record that the attempt begins, with the waits before it: in the queue, and for the process."""
        attempt = cls(task_key(context))
        running, dag_run = context["ti"], context["dag_run"]
        before = [*context["task"].upstream_task_ids, running.task_id]
        upstream_at = last_finished(attempt.database, running.dag_id, running.run_id, before)
        begin_attempt(attempt.database, attempt.task, stage, running.start_date, upstream_at)
        # Asked again: a try that died without a word was ended by the line before, and its time is no wait.
        waiting_since = last_finished(attempt.database, running.dag_id, running.run_id, before)
        attempt._add(Phase.QUEUE, _waiting_since(waiting_since, dag_run), running.start_date)
        attempt._add(Phase.TASK_START, running.start_date, attempt._begun_at)
        return attempt

    @classmethod
    def resume(cls, context: Context, begun_at: datetime) -> "Attempt":
        """Go on with an attempt that was deferred; it began at `begun_at`."""
        attempt = cls(task_key(context))
        attempt._begun_at = begun_at
        return attempt

    @classmethod
    def come_back(cls, context: Context, stage: Stage, aside_since: datetime) -> "Attempt":
        """Go on with an attempt that stepped aside, and that was recorded as ended meanwhile; the wait is a phase."""
        attempt = cls(task_key(context))
        begin_attempt(attempt.database, attempt.task, stage, context["ti"].start_date)
        attempt._add(Phase.ASIDE, aside_since, attempt._begun_at)
        return attempt

    def pause(self) -> None:
        """The task is deferred: record what there is, another process goes on."""
        record_phases(self.database, self.task, self._phases)
        self._phases.clear()

    @contextlib.contextmanager
    def phase(self, phase: Phase, since: datetime | None = None) -> Iterator[dict[str, float]]:
        """Time the block as a phase of the task itself; yields its counters.

        `since` lets the phase begin earlier, at an instant that another process took.
        """
        counters: dict[str, float] = {}
        now = datetime.now(UTC)
        # Of a container that ended before this attempt began, only our own time counts.
        started_at = min(max(since, self._begun_at), now) if since else now
        earlier_s = (now - started_at).total_seconds()
        started_s = time.monotonic()
        outcome = PhaseOutcome.FAILED
        try:
            yield counters
            outcome = PhaseOutcome.DONE
        finally:
            duration_s = earlier_s + time.monotonic() - started_s
            self._append(phase, started_at, duration_s, outcome, counters)

    def adopt(self, container_phases: Sequence[PhaseRecord]) -> datetime | None:
        """Take over the phases that the container wrote. Returns the end of the last one."""
        self._phases.extend(container_phases)
        return max((phase.started_at + timedelta(seconds=phase.span_s) for phase in container_phases), default=None)

    def end_predecessor(self, task_id: str, run_folder: RunFolder) -> bool:
        """End what a task that has ended left open, and keep the times of its container.

        Returns:
            Whether there was something: its process died without a word.
        """
        theirs = self.task.model_copy(update={"task_id": task_id})
        unheard = end_unheard_attempts(self.database, theirs, self._begun_at)
        for try_number, container_try in unheard:
            folder = run_folder.attempt(theirs.model_copy(update={"try_number": container_try}))
            key = theirs.model_copy(update={"try_number": try_number})
            record_phases(self.database, key, read_phases(folder / PHASES_FILE))
        return bool(unheard)

    def describe(self, variant: Variant, image: StageImage, compute_type: str) -> None:
        """Record what runs."""
        details = AttemptDetails(
            variant=variant,
            image=image.name,
            image_digest=image.digest,
            models=image.models,
            compute_type=compute_type,
        )
        describe_attempt(self.database, self.task, details)

    def use_device(self, device: str, lease_id: int | None = None) -> None:
        """Record where it computes: `cpu`, or a GPU's UUID and the lease on it."""
        describe_attempt(self.database, self.task, AttemptDetails(device=device, lease_id=lease_id))

    def follow_container(self, container_id: str, started_by: int) -> None:
        """Record which container the attempt waits for, and which try started it."""
        joined = started_by if started_by != self.task.try_number else None
        details = AttemptDetails(container_id=container_id, joined_try_number=joined)
        describe_attempt(self.database, self.task, details)

    def finish(self, outcome: AttemptOutcome, message: str, items: Mapping[str, StageItem] | None = None) -> None:
        """Record the phases and how the attempt ended."""
        record_phases(self.database, self.task, self._phases)
        end = AttemptEnd(
            finished_at=datetime.now(UTC),
            outcome=outcome,
            exit_code=self.exit_code,
            message=message,
            items=Counter(item.outcome for item in (items or {}).values()),
        )
        finish_attempt(self.database, self.task, end)

    def _add(self, phase: Phase, started_at: datetime, ended_at: datetime) -> None:
        duration_s = max(0.0, (ended_at - started_at).total_seconds())
        self._append(phase, started_at, duration_s, PhaseOutcome.DONE, {})

    def _append(
        self, phase: Phase, started_at: datetime, duration_s: float, outcome: PhaseOutcome, counters: dict[str, float]
    ) -> None:
        self._phases.append(
            PhaseRecord(
                phase=phase,
                started_at=started_at,
                duration_s=duration_s,
                span_s=duration_s,
                outcome=outcome,
                counters=counters,
            )
        )


def _waiting_since(upstream_at: datetime | None, dag_run: DagRunProtocol) -> datetime:
    # In a run that was cleared, what ended before it was asked for again is no beginning of a wait.
    return max(upstream_at, asked_at(dag_run)) if upstream_at else asked_at(dag_run)


def asked_at(dag_run: DagRunProtocol) -> datetime:
    """When the run was asked for. One that is cleared goes again long after: then its new start counts."""
    if dag_run.clear_number and dag_run.start_date:
        return dag_run.start_date
    return dag_run.run_after


def task_key(context: Context) -> TaskKey:
    """The running task's key."""
    running = context["ti"]
    return TaskKey(
        dag_id=running.dag_id,
        run_id=running.run_id,
        task_id=running.task_id,
        map_index=running.map_index if running.map_index is not None else -1,
        try_number=running.try_number,
    )


def first_try(context: Context) -> int:
    """The number of this go's first try: clearing a task begins a new go, and numbers run on."""
    running = context["ti"]
    return max(1, running.max_tries - (context["task"].retries or 0) + 1)
