"""What whoever wants a GPU does until it has one: say what it needs, ask, and know when waiting is of no use."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

import docker
from sqlalchemy import Engine

from operators.gpu.agent_client import ask_agent
from operators.gpu.batches import Batch, choose_batch
from operators.gpu.breaker_store import observe
from operators.gpu.choice import INSISTENCE
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.lease import Grant, LeaseRequest, Refusal, held_leases, reclaim, try_grant
from operators.gpu.needs import ModelKey, find_need, measured_needs
from operators.gpu.standing import GpuState, Hindrance, device_standings
from operators.routing import DevicePolicy
from operators.stage_container import is_running
from stage_contract.models import ModelRef
from stage_contract.request import TaskKey
from stage_contract.vocabulary import Stage

ASK_EVERY_S = 1.0


def batch_now(
    database: Engine, configuration: GpuConfiguration, stage: Stage, models: Iterable[ModelRef], compute_type: str
) -> Batch:
    """As many pictures or windows at a time as fit the VRAM that other programs leave at this moment."""
    health = ask_agent(configuration.agent_url)
    state = GpuState(configuration, health, {}, held_leases(database), datetime.now(UTC))
    usable = {standing.device_uuid: standing.usable_mib for standing in device_standings(state, 0, 0.0)}
    names = [model.name for model in models]
    return choose_batch(stage, names, compute_type, measured_needs(database), configuration, usable)


def batch_of(database: Engine, configuration: GpuConfiguration, key: ModelKey) -> Batch:
    """The batch that somebody chose, and what it takes."""
    return Batch(key, find_need(key, measured_needs(database), configuration))


def lease_request(task: TaskKey, batch: Batch, priority: int, container_name: str) -> LeaseRequest:
    """What a container asks for: the VRAM that its very models, compute type and batch take."""
    return LeaseRequest(
        task=task,
        stage=batch.key.stage,
        models=batch.key.models,
        compute_type=batch.key.compute_type,
        batch_size=batch.key.batch_size,
        need_mib=batch.need.mib,
        priority=priority,
        container_name=container_name,
    )


def ask_once(
    database: Engine, engine: docker.APIClient, configuration: GpuConfiguration, lease_id: int
) -> Grant | Refusal:
    """Look at the GPUs as they are now, take back what the dead left, and ask for one that was queued for."""
    health = ask_agent(configuration.agent_url)
    observe(database, health, configuration.breaker_wait_s)
    reclaim(database, lambda name: is_running(engine, name))
    return try_grant(database, lease_id, configuration, health)


def patient(configuration: GpuConfiguration, policy: DevicePolicy) -> GpuConfiguration:
    """The configuration for work under this policy: `gpu` waits longer."""
    if policy is not DevicePolicy.GPU:
        return configuration
    return replace(configuration, patience_s=configuration.patience_s * INSISTENCE)


def is_over(refusal: Refusal, policy: DevicePolicy) -> bool:
    """Whether waiting is of no use. Who insists waits all the same, unless there is nothing to wait for."""
    if policy is DevicePolicy.GPU:
        return refusal.is_hopeless and refusal.blocked_by is Hindrance.SIZE
    return refusal.is_hopeless
