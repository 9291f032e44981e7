"""A leased GPU for one container of a benchmark."""

import contextlib
import time
from collections.abc import Callable, Iterator

import docker
from sqlalchemy import Engine

from operators.errors import NightreelError
from operators.gpu.asking import ASK_EVERY_S, ask_once, is_over, patient
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.lease import Grant, LeaseRequest, ask, release
from operators.gpu.lease_hold import LeaseHold
from operators.gpu.standing import Hindrance
from operators.routing import DevicePolicy
from operators.stage_container import StageContainer


class NoGpu(NightreelError):
    """No GPU takes the work, and waiting would not help."""


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
    with LeaseHold(database, configuration, grant, request, stop) as hold:
        yield hold


def _wait(
    database: Engine,
    engine: docker.APIClient,
    configuration: GpuConfiguration,
    lease_id: int,
    look: Callable[[], None],
) -> Grant:
    # Who benchmarks a GPU insists on it.
    patience_s = patient(configuration, DevicePolicy.GPU).patience_s
    hindered_since_s = time.monotonic()
    while True:
        look()
        answer = ask_once(database, engine, configuration, lease_id)
        if isinstance(answer, Grant):
            return answer
        if answer.blocked_by is Hindrance.OWN_WORK:
            hindered_since_s = time.monotonic()
        hindered_s = time.monotonic() - hindered_since_s
        if is_over(answer, DevicePolicy.GPU) or hindered_s >= patience_s:
            raise NoGpu(answer.reason)
        time.sleep(ASK_EVERY_S)
