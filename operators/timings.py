"""When runs and attempts began and ended, how long each phase took, and what became of each item."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pydantic import JsonValue

from operators.clean_text import storable, storable_json, storable_path
from operators.database import Database, transaction
from operators.errors import NightreelError
from operators.queries import query
from operators.stage_plan import AttemptOutcome
from stage_contract.models import ModelRef
from stage_contract.phases import PhaseRecord
from stage_contract.request import TaskKey
from stage_contract.vocabulary import ItemOutcome, Reason, Stage, Variant


class UnknownKeyError(NightreelError):
    """A run or an attempt that the database has not heard of."""


class RunOutcome(StrEnum):
    """How a run stands. `left`: some items were not come to. `cancelled`: Airflow ended it. Rejected counts as done."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    LEFT = "left"
    CANCELLED = "cancelled"


class RunItemOutcome(StrEnum):
    """What became of one file that a run was asked to process."""

    PENDING = "pending"
    DONE = "done"
    REJECTED = "rejected"
    FAILED = "failed"
    LEFT = "left"


@dataclass(frozen=True)
class RunStart:
    """A run as it begins. `queued_at` is when Airflow created it."""

    dag_id: str
    run_id: str
    parameters: Mapping[str, JsonValue]
    queued_at: datetime | None
    started_at: datetime


@dataclass(frozen=True)
class RunItem:
    """A file of a run. `reason` is there exactly when the outcome is `rejected`."""

    root: str
    path: str
    asset_id: str | None
    outcome: RunItemOutcome
    reason: Reason | None = None
    message: str = ""


@dataclass(frozen=True)
class AttemptDetails:
    """What is known about an attempt once it is under way. None leaves what is recorded as it is.

    `device` is `cpu` or a GPU's UUID. `joined_try_number` is the try that started the container, `lease_id` the
    claim on the GPU under which it runs.
    """

    variant: Variant | None = None
    device: str | None = None
    image: str | None = None
    image_digest: str | None = None
    models: tuple[ModelRef, ...] | None = None
    compute_type: str | None = None
    container_id: str | None = None
    joined_try_number: int | None = None
    lease_id: int | None = None


@dataclass(frozen=True)
class AttemptEnd:
    """How an attempt ended; `items` counts its items by outcome."""

    finished_at: datetime
    outcome: AttemptOutcome
    exit_code: int | None = None
    message: str = ""
    items: Mapping[ItemOutcome, int] = field(default_factory=dict)


def begin_run(database: Database, run: RunStart) -> None:
    """Record that a run begins. A run that is cleared and goes again takes its new times."""
    row = {
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "parameters": json.dumps(storable_json(dict(run.parameters))),
        "queued_at": run.queued_at,
        "started_at": run.started_at,
    }
    with transaction(database) as connection:
        connection.execute(query("begin_run"), row)


def finish_run(database: Database, dag_id: str, run_id: str, finished_at: datetime, outcome: RunOutcome) -> None:
    """Record that a run ended.

    Raises:
        UnknownKeyError: it never began.
    """
    row = {"dag_id": dag_id, "run_id": run_id, "finished_at": finished_at, "outcome": outcome}
    with transaction(database) as connection:
        if connection.execute(query("finish_run"), row).first() is None:
            raise UnknownKeyError(f"a run must begin before it ends: {dag_id} {run_id} did not")
        connection.execute(query("measure_run"), row)
        connection.execute(query("sum_attempts"), row | {"task_id": None, "map_index": None, "try_number": None})
        connection.execute(query("sum_run_items"), row)


def run_outcome(items: Sequence[RunItem]) -> RunOutcome:
    """What a run's items make of the run."""
    outcomes = {item.outcome for item in items}
    if RunItemOutcome.FAILED in outcomes:
        return RunOutcome.FAILED
    if outcomes & {RunItemOutcome.LEFT, RunItemOutcome.PENDING}:
        return RunOutcome.LEFT
    return RunOutcome.DONE


def set_item_outcomes(database: Database, dag_id: str, run_id: str, items: Sequence[RunItem]) -> None:
    """Record what became of a run's items so far. What ended well is no failure of nights any more."""
    rows = {
        (item.root, storable_path(item.path)): {
            "dag_id": dag_id,
            "run_id": run_id,
            "root": item.root,
            "path": storable_path(item.path),
            "asset_id": item.asset_id,
            "outcome": item.outcome,
            "reason": item.reason,
            "message": storable(item.message),
        }
        for item in items
    }
    if not rows:
        return
    with transaction(database) as connection:
        connection.execute(query("save_run_item"), [rows[key] for key in sorted(rows)])
        connection.execute(query("forget_failures"), {"asset_ids": sorted(_ended_well(items))})


def _ended_well(items: Sequence[RunItem]) -> set[str]:
    ends = {RunItemOutcome.DONE, RunItemOutcome.REJECTED}
    return {item.asset_id for item in items if item.asset_id and item.outcome in ends}


def begin_attempt(
    database: Database,
    task: TaskKey,
    stage: Stage | None,
    started_at: datetime,
    upstream_finished_at: datetime | None = None,
) -> None:
    """Record that an attempt begins. Earlier tries that still say running are marked lost.

    `stage` is none for a task that runs no container.
    """
    row = {
        **task.model_dump(),
        "stage": stage,
        "started_at": started_at,
        "upstream_finished_at": upstream_finished_at,
    }
    with transaction(database) as connection:
        connection.execute(query("ensure_run"), row)
        connection.execute(query("give_up_earlier_attempts"), row)
        connection.execute(query("begin_attempt"), row)


def describe_attempt(database: Database, task: TaskKey, details: AttemptDetails) -> None:
    """Add to an attempt what has become known about it.

    Raises:
        UnknownKeyError: it never began.
    """
    models = details.models
    row = {
        **task.model_dump(),
        "variant": details.variant,
        "device": details.device,
        "image": details.image,
        "image_digest": details.image_digest,
        "models": None if models is None else json.dumps([model.model_dump() for model in models]),
        "compute_type": details.compute_type,
        "container_id": details.container_id,
        "joined_try_number": details.joined_try_number,
        "lease_id": details.lease_id,
    }
    with transaction(database) as connection:
        if connection.execute(query("describe_attempt"), row).first() is None:
            raise _unknown(task)


def finish_attempt(database: Database, task: TaskKey, end: AttemptEnd) -> None:
    """Record how an attempt ended. What a lost attempt still says of itself replaces `lost`.

    Raises:
        UnknownKeyError: it never began.
    """
    row = {
        **task.model_dump(),
        "finished_at": end.finished_at,
        "outcome": end.outcome,
        "exit_code": end.exit_code,
        "message": storable(end.message),
        **{f"items_{outcome}": end.items.get(outcome, 0) for outcome in ItemOutcome},
    }
    with transaction(database) as connection:
        if connection.execute(query("finish_attempt"), row).first() is None:
            raise _unknown(task)


def end_unheard_attempts(database: Database, task: TaskKey, finished_at: datetime) -> list[tuple[int, int]]:
    """Mark the tries of a task that has ended, and that still say running, as lost.

    Returns:
        For each its number, and that of the try whose container it followed.
    """
    row = {**task.model_dump(exclude={"try_number"}), "finished_at": finished_at}
    with transaction(database) as connection:
        return [tuple(ended) for ended in connection.execute(query("end_unheard_attempts"), row)]


def record_phases(database: Database, task: TaskKey, records: Sequence[PhaseRecord]) -> None:
    """Record an attempt's phases, all at once or as they come. A record that is there already stays as it is.

    What pages read of many runs at once is brought up to date with them.

    Raises:
        UnknownKeyError: the attempt never began.
    """
    row = {
        **task.model_dump(),
        "records": json.dumps([storable_json(record.model_dump(mode="json")) for record in records]),
    }
    with transaction(database) as connection:
        connection.execute(query("lock_run"), row)
        if connection.execute(query("lock_attempt"), row).first() is None:
            raise _unknown(task)
        added = connection.execute(query("save_phases"), row).scalars().all()
        if not added:
            return
        connection.execute(query("measure_run"), row)
        connection.execute(query("sum_attempts"), row)
        # Last: other runs wait for these rows.
        connection.execute(query("count_phases"), row | {"first": min(added)})


def last_finished(database: Database, dag_id: str, run_id: str, task_ids: Sequence[str]) -> datetime | None:
    """When the last of these tasks ended in this run; none when none has."""
    row = {"dag_id": dag_id, "run_id": run_id, "task_ids": list(task_ids)}
    with transaction(database) as connection:
        finished: datetime | None = connection.execute(query("last_finished"), row).scalar_one()
    return finished


def _unknown(task: TaskKey) -> UnknownKeyError:
    return UnknownKeyError(
        f"an attempt must begin before more is recorded: {task.dag_id} {task.run_id} {task.task_id} "
        f"{task.map_index} try {task.try_number} did not"
    )
