"""Where each stage is to run, in Postgres: changed by people, in force at the next task."""

from dataclasses import dataclass
from datetime import datetime

from operators.clean_text import storable
from operators.database import Database, transaction
from operators.errors import ChoiceInvalid
from operators.gpu.lock import exclusive
from operators.queries import query
from operators.routing import GPU_STAGES, DevicePolicy
from stage_contract.vocabulary import Stage


@dataclass(frozen=True)
class RoutingChange:
    """A row of the audit."""

    stage: Stage
    changed_at: datetime
    policy_before: DevicePolicy
    policy_after: DevicePolicy
    changed_by: str
    reason: str


def routing(database: Database) -> dict[Stage, DevicePolicy]:
    """The policy of every stage that has a GPU build; `auto` where nobody chose."""
    with transaction(database) as connection:
        chosen = {row.stage: row.policy for row in connection.execute(query("list_routing"))}
    return {stage: DevicePolicy(chosen.get(stage, DevicePolicy.AUTO)) for stage in GPU_STAGES}


def set_routing(database: Database, stage: Stage, policy: DevicePolicy, who: str, why: str) -> RoutingChange:
    """Send a stage somewhere else from its next task on, and record who did and why.

    Raises:
        ChoiceInvalid: the stage has no GPU build, or who or why is not said.
    """
    if stage not in GPU_STAGES:
        raise ChoiceInvalid(
            f"a stage that is routed must have a GPU build: {stage} has none; choose {' or '.join(GPU_STAGES)}"
        )
    if not who.strip() or not why.strip():
        raise ChoiceInvalid(
            f"a routing must say who and why: {stage} was to go to {policy} by {who!r} because {why!r}; give a reason"
        )
    signed = {"changed_by": storable(who), "reason": storable(why)}
    with exclusive(database) as (connection, now):
        row = {"stage": stage, "policy": policy, "changed_at": now, **signed}
        before = connection.execute(query("find_routing"), {"stage": stage}).scalar_one_or_none() or DevicePolicy.AUTO
        connection.execute(query("save_routing"), row)
        connection.execute(query("log_routing_change"), {**row, "policy_before": before, "policy_after": policy})
    return RoutingChange(stage, now, DevicePolicy(before), policy, **signed)


def routing_changes(database: Database, limit: int = 50, offset: int = 0) -> list[RoutingChange]:
    """Who changed what, the last first."""
    with transaction(database) as connection:
        return [
            RoutingChange(
                Stage(row.stage),
                row.changed_at,
                DevicePolicy(row.policy_before),
                DevicePolicy(row.policy_after),
                row.changed_by,
                row.reason,
            )
            for row in connection.execute(query("list_routing_changes"), {"limit": limit, "offset": offset})
        ]
