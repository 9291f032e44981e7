"""Which branch each stage of a run took, and why, in Postgres."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from operators.clean_text import storable, storable_json
from operators.database import Database, transaction
from operators.gpu.choice import Branch, BranchDecision, BranchQuestion
from operators.queries import query
from operators.routing import DevicePolicy
from stage_contract.request import TaskKey
from stage_contract.vocabulary import Stage


@dataclass(frozen=True)
class DeviceChoice:
    """A decision as recorded. `devices` are the standings of that moment, as JSON."""

    task_id: str
    map_index: int
    try_number: int
    stage: Stage
    branch: Branch
    reason: str
    need_mib: int
    waited_s: float
    policy: DevicePolicy
    devices: tuple[dict[str, Any], ...]
    decided_at: datetime


def save_choice(database: Database, task: TaskKey, question: BranchQuestion, decision: BranchDecision) -> None:
    """Record what the task decided. Deciding again in the same try replaces it."""
    row = {
        **task.model_dump(),
        "stage": question.stage,
        "branch": decision.branch,
        "reason": storable(decision.reason),
        "need_mib": question.need_mib,
        "waited_s": question.waited_s,
        "policy": question.policy,
        "devices": json.dumps(storable_json([asdict(device) for device in decision.devices])),
        "decided_at": question.now,
    }
    with transaction(database) as connection:
        connection.execute(query("ensure_run"), {**row, "started_at": question.now})
        connection.execute(query("save_device_choice"), row)


def choices_of_run(database: Database, dag_id: str, run_id: str) -> list[DeviceChoice]:
    """What the stages of a run decided, in the order in which they did."""
    with transaction(database) as connection:
        return [
            DeviceChoice(
                **{
                    **row,
                    "stage": Stage(row["stage"]),
                    "branch": Branch(row["branch"]),
                    "policy": DevicePolicy(row["policy"]),
                    "devices": tuple(row["devices"]),
                }
            )
            for row in connection.execute(query("list_device_choices"), {"dag_id": dag_id, "run_id": run_id}).mappings()
        ]
