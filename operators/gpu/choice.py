"""GPU or CPU: where a stage goes, and why. Decides; does no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from operators.gpu.breaker import Breaker, BreakerState
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.standing import DeviceStanding, GpuState, HeldLease, Hindrance, device_standings
from operators.routing import GPU_STAGES, DevicePolicy
from stage_contract.gpu_health import HostHealth
from stage_contract.vocabulary import Stage

INSISTENCE = 10
"""A policy `gpu` waits so many times the patience."""


class Branch(StrEnum):
    """Where the stage goes; `wait`: ask again in a little while."""

    GPU = "gpu"
    CPU = "cpu"
    WAIT = "wait"


@dataclass(frozen=True)
class BranchQuestion:
    """All that decides. `run_policy` is the run's own wish and goes before `routed` unless it is `auto`.

    `need_mib` is the VRAM of the stage's lease, `leases` the granted ones by device. `waited_s` runs from the
    first time this was asked, `now` is UTC.
    """

    stage: Stage
    need_mib: int
    run_policy: DevicePolicy
    routed: DevicePolicy
    configuration: GpuConfiguration
    health: HostHealth
    breakers: Mapping[str, Breaker]
    leases: Mapping[str, Sequence[HeldLease]]
    waited_s: float
    now: datetime

    @property
    def policy(self) -> DevicePolicy:
        """What is in force."""
        return self.routed if self.run_policy is DevicePolicy.AUTO else self.run_policy

    @property
    def patience_s(self) -> float:
        """How long is waited before the CPU takes over."""
        return self.configuration.patience_s * (INSISTENCE if self.policy is DevicePolicy.GPU else 1)


@dataclass(frozen=True)
class BranchDecision:
    """`reason` is one sentence for a person; `devices` is how each stood, empty when none was looked at."""

    branch: Branch
    reason: str
    devices: tuple[DeviceStanding, ...] = ()


def choose_branch(question: BranchQuestion) -> BranchDecision:
    """The branch to take now. Never the GPU without a usable device; never waits past patience."""
    stage = question.stage
    if question.policy is DevicePolicy.CPU:
        return BranchDecision(Branch.CPU, _wanted_on_the_cpu(question))
    if stage not in GPU_STAGES:
        return BranchDecision(Branch.CPU, f"{stage} runs on the CPU: it has no GPU build")
    if not question.configuration.devices:
        remedy = "set NIGHTREEL_GPU_DEVICES in .env and run `make up` to use one"
        return BranchDecision(Branch.CPU, f"{stage} runs on the CPU: no GPU is configured; {remedy}")
    left_s = question.patience_s - question.waited_s
    state = GpuState(question.configuration, question.health, question.breakers, question.leases, question.now)
    devices = device_standings(state, question.need_mib, left_s)
    usable = [device for device in devices if device.is_usable]
    if usable:
        return BranchDecision(Branch.GPU, _on_a_gpu(question, usable), devices)
    # Who insists waits, whatever is in the way, unless no device will ever be large enough.
    insists = question.policy is DevicePolicy.GPU and any(d.hindrance is not Hindrance.SIZE for d in devices)
    if left_s > 0 and (insists or any(device.may_pass for device in devices)):
        return BranchDecision(Branch.WAIT, _waits(question, devices), devices)
    return BranchDecision(Branch.CPU, _on_the_cpu(question, devices), devices)


def _wanted_on_the_cpu(question: BranchQuestion) -> str:
    if question.run_policy is DevicePolicy.CPU:
        return f"{question.stage} runs on the CPU: this run was asked for with device cpu"
    return f"{question.stage} runs on the CPU: it is routed there; DAG route_stages changes that, from the next task on"


def _on_a_gpu(question: BranchQuestion, usable: Sequence[DeviceStanding]) -> str:
    # Which of them it will be, the lease decides when its turn comes.
    is_trial = all(device.breaker is BreakerState.HALF_OPEN for device in usable)
    trial = "; the breaker is half-open, this is a trial" if is_trial else ""
    return f"{question.stage} runs on a GPU, where {question.need_mib} MiB are needed: {describe(usable)}{trial}"


def _waits(question: BranchQuestion, devices: Sequence[DeviceStanding]) -> str:
    waited = f"for {question.waited_s:.0f} s, {question.patience_s:.0f} s at most"
    return f"{question.stage} waits for a GPU ({waited}): {describe(devices)}"


def _on_the_cpu(question: BranchQuestion, devices: Sequence[DeviceStanding]) -> str:
    waited = f" after waiting {question.waited_s:.0f} s for a GPU" if question.waited_s >= 1 else ""
    return f"{question.stage} runs on the CPU{waited}: {describe(devices)}"


def describe(devices: Sequence[DeviceStanding]) -> str:
    """What is in the way of each device; devices of which the same is said are named together."""
    said: dict[str, list[str]] = {}
    for device in devices:
        said.setdefault(device.message, []).append(device.label)
    return "; ".join(f"{_all_of(labels)} {message}" for message, labels in said.items())


def _all_of(labels: Sequence[str]) -> str:
    return labels[0] if len(labels) == 1 else f"each of {', '.join(labels)}"
