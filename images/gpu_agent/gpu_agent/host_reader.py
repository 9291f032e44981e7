"""Reads the whole host through a child process. Each device's read has a deadline of its own.

One device that hangs costs the others nothing but time: its reader is killed, and another reads on.
"""

import time
from typing import TypeVar

from gpu_agent.child import Child, Stuck
from gpu_agent.errors import AgentError, ChildDied, ChildHangs
from gpu_agent.reading import GPU, SYSTEM, Fault, FaultKind, GpuReading, HostReading, SystemReading
from stage_contract.gpu_health import HealthModel

Answer = TypeVar("Answer", bound=HealthModel)

MODULE = "gpu_agent.read_nvml"
# For Python to start and import on a busy machine; NVML is not touched in it.
START_S = 10.0
# A look at the host ends in this time however many devices hang, for who asks takes an old answer for none.
LOOK_S = 9.0


class HostReader:
    """Keeps one child that reads NVML, and replaces it when it hangs, dies, or NVML does not start in it."""

    def __init__(self, deadline_s: float, stuck: Stuck) -> None:
        self.hangs = 0
        self._deadline_s = deadline_s
        self._stuck = stuck
        self._child: Child | None = None
        self._hung: frozenset[int] = frozenset()

    def read(self) -> HostReading:
        """Look at the host once. Never raises for what the driver does."""
        until_s = time.monotonic() + LOOK_S
        system = self._system(until_s)
        gpus: dict[int, GpuReading] = {}
        # Those that hung last time come last, so that they cannot take the others' time.
        for index in sorted(range(system.gpu_count), key=lambda index: (index in self._hung, index)):
            gpus[index] = self._gpu(index, until_s)
        self._hung = frozenset(index for index, gpu in gpus.items() if _is_hang(gpu.fault))
        if system.fault is not None:
            # What was wrong when a process loaded the library may stay wrong in it.
            self.close()
        return HostReading(
            system=system, gpus=tuple(gpus[index] for index in sorted(gpus)), stuck_pids=self._stuck.pids()
        )

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._stuck.end(self._child)
            self._child = None

    def _system(self, until_s: float) -> SystemReading:
        try:
            return self._ask(SYSTEM, SystemReading, until_s)
        except AgentError as error:
            return SystemReading(fault=_fault("the start of NVML", error))

    def _gpu(self, index: int, until_s: float) -> GpuReading:
        try:
            if self._child is None:
                # The one before it was killed: NVML starts anew in this one.
                system = self._ask(SYSTEM, SystemReading, until_s)
                if system.fault is not None:
                    return GpuReading(fault=system.fault)
            return self._ask(f"{GPU} {index}", GpuReading, until_s)
        except AgentError as error:
            return GpuReading(fault=_fault(f"GPU {index}", error))

    def _ask(self, question: str, answer: type[Answer], until_s: float) -> Answer:
        try:
            if self._child is None:
                self._child = self._stuck.start(MODULE)
                self._child.next_line(START_S)
            deadline_s = min(self._deadline_s, until_s - time.monotonic())
            if deadline_s <= 0:
                raise ChildHangs("no time was left for it, since other reads hung")
            return _parse(answer, self._child.ask(question, deadline_s))
        except (ChildHangs, ChildDied) as error:
            self.hangs += isinstance(error, ChildHangs)
            self.close()
            raise


def _parse(answer: type[Answer], line: str) -> Answer:
    try:
        return answer.model_validate_json(line)
    except ValueError as error:
        raise ChildDied(f"it must answer with a {answer.__name__}: {line[:80]!r}") from error


def _fault(what: str, error: AgentError) -> Fault:
    kind = FaultKind.DEATH if isinstance(error, ChildDied) else FaultKind.HANG
    return Fault(kind=kind, what=what, text=str(error))


def _is_hang(fault: Fault | None) -> bool:
    return fault is not None and fault.kind is FaultKind.HANG
