"""What whoever wants a GPU does until it has one: say what it needs, ask, and know when waiting is of no use."""

from collections.abc import Iterable
from dataclasses import replace

import docker
from sqlalchemy import Engine

from operators.gpu.agent_client import ask_agent
from operators.gpu.breaker_store import observe
from operators.gpu.choice import INSISTENCE
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.lease import Grant, LeaseRequest, Refusal, reclaim, try_grant
from operators.gpu.needs import measured_needs, need_mib
from operators.gpu.standing import Hindrance
from operators.routing import DevicePolicy
from operators.stage_container import is_running
from stage_contract.models import ModelRef
from stage_contract.request import TaskKey
from stage_contract.vocabulary import Stage

ASK_EVERY_S = 1.0


def lease_request(
    database: Engine,
    configuration: GpuConfiguration,
    task: TaskKey,
    stage: Stage,
    models: Iterable[ModelRef],
    compute_type: str,
    batch_size: int,
    priority: int,
    container_name: str,
) -> LeaseRequest:
    """What a container asks for: the VRAM that its very models, compute type and batch take."""
    names = tuple(sorted(model.name for model in models))
    return LeaseRequest(
        task=task,
        stage=stage,
        models=names,
        compute_type=compute_type,
        batch_size=batch_size,
        need_mib=need_mib(stage, names, compute_type, batch_size, measured_needs(database), configuration),
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
