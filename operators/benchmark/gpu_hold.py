"""A leased GPU for one container of a benchmark."""

import contextlib
import time
from collections.abc import Callable, Iterator

import docker
from sqlalchemy import Engine

from operators.errors import NightreelError
from operators.gpu.agent_client import ask_agent
from operators.gpu.breaker_store import observe
from operators.gpu.choice import INSISTENCE
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.lease import Grant, LeaseRequest, ask, reclaim, release, try_grant
from operators.gpu.lease_hold import LeaseHold
from operators.gpu.needs import measured_needs, need_mib
from operators.gpu.standing import Hindrance
from operators.stage_container import StageContainer, is_running
from stage_contract.models import ModelRef
from stage_contract.request import TaskKey
from stage_contract.vocabulary import Stage

ASK_EVERY_S = 1.0


class NoGpu(NightreelError):
    """No GPU takes the work, and waiting would not help."""


def lease_request(
    database: Engine,
    task: TaskKey,
    stage: Stage,
    models: tuple[ModelRef, ...],
    compute_type: str,
    batch_size: int,
    priority: int,
    container_name: str,
) -> LeaseRequest:
    """What a container asks for: the VRAM that its very compute type and batch take."""
    names = tuple(sorted(model.name for model in models))
    configuration = GpuConfiguration.from_environment()
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


@contextlib.contextmanager
def hold_gpu(
    database: Engine,
    engine: docker.APIClient,
    request: LeaseRequest,
    stop: Callable[[StageContainer], None],
    look: Callable[[], None],
) -> Iterator[LeaseHold]:
    """Wait for a device and hold it until the block ends. `look` is called while it waits; what it raises passes.

    Raises:
        NoGpu: no device takes the work.
    """
    configuration = GpuConfiguration.from_environment()
    lease_id = ask(database, request)
    try:
        grant = _wait(database, engine, configuration, lease_id, look)
    except BaseException:
        release(database, lease_id, "withdrawn")
        raise
    with LeaseHold(database, configuration, grant, request.need_mib, stop) as hold:
        yield hold


def _wait(
    database: Engine,
    engine: docker.APIClient,
    configuration: GpuConfiguration,
    lease_id: int,
    look: Callable[[], None],
) -> Grant:
    hindered_since_s = time.monotonic()
    while True:
        look()
        health = ask_agent(configuration.agent_url)
        observe(database, health, configuration.breaker_wait_s)
        reclaim(database, lambda name: is_running(engine, name))
        answer = try_grant(database, lease_id, configuration, health)
        if isinstance(answer, Grant):
            return answer
        if answer.blocked_by is Hindrance.OWN_WORK:
            hindered_since_s = time.monotonic()
        # Who benchmarks a GPU insists on it, as the policy `gpu` does.
        is_over = time.monotonic() - hindered_since_s >= configuration.patience_s * INSISTENCE
        if is_over or (answer.is_hopeless and answer.blocked_by is Hindrance.SIZE):
            raise NoGpu(answer.reason)
        time.sleep(ASK_EVERY_S)
