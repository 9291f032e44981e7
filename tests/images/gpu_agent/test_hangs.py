"""A driver that hangs, and processes in it that cannot be killed."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gpu_agent.child import Stuck
from gpu_agent.errors import ChildDied, ChildHangs, TooManyStuck
from stage_contract.gpu_health import HealthCode, HealthVerdict
from tests.images.gpu_agent.running_agent import MODULES, PATIENCE_S, REPOSITORY, RunningAgent, codes, device

READER = "gpu_agent.read_nvml"
HOUR_MS = 3_600_000
QUICK_S = 0.5
FREEZER = Path("/sys/fs/cgroup/freezer")


def test_a_hanging_driver_is_unknown_and_the_agent_answers_as_quickly_as_ever(agent: RunningAgent) -> None:
    agent.nvml.change(delays_ms={"*": HOUR_MS})
    health = agent.until_reason(HealthCode.NVML_HANGS)
    assert {found.verdict for found in health.devices} == {HealthVerdict.UNKNOWN}
    slowest_s = 0.0
    observed = set()
    until_s = time.monotonic() + 4
    while time.monotonic() < until_s:
        started_s = time.monotonic()
        observed.add(agent.health().observed_at)
        slowest_s = max(slowest_s, time.monotonic() - started_s)
        time.sleep(0.05)
    assert slowest_s < QUICK_S
    assert len(observed) > 1, "the answer is a fresh one, though NVML tells nothing"

    agent.nvml.change(delays_ms={})
    agent.until(lambda health: health.verdict is HealthVerdict.HEALTHY)
    agent.until_watching("GPU-1", "GPU-2")
    assert _hangs(agent) >= 1


def test_one_device_that_hangs_leaves_the_other_readable(agent: RunningAgent) -> None:
    agent.nvml.change_gpu("GPU-1", delays_ms={"nvmlDeviceGetPowerUsage": HOUR_MS})
    health = agent.until_reason(HealthCode.NVML_HANGS, "GPU-1")
    assert device(health, "GPU-1").verdict is HealthVerdict.UNKNOWN
    assert device(health, "GPU-2").verdict is HealthVerdict.HEALTHY
    assert device(health, "GPU-2").total_mib == 24576
    agent.nvml.change_gpu("GPU-1", delays_ms={})
    agent.until(lambda health: health.verdict is HealthVerdict.HEALTHY)


def test_a_slow_answer_within_the_deadline_is_an_answer(agent: RunningAgent) -> None:
    agent.nvml.change(delays_ms={"nvmlDeviceGetPowerUsage": 200})
    time.sleep(1.5)
    assert agent.health().verdict is HealthVerdict.HEALTHY


def test_a_reader_that_cannot_be_killed_is_left_behind_and_told(agent: RunningAgent) -> None:
    agent.nvml.change(delays_ms={"nvmlDeviceGetPowerUsage": 900})
    with frozen(_reader(agent)) as pid:
        health = agent.until(lambda health: codes(health) == {HealthCode.NVML_HANGS} and bool(health.devices))
        agent.nvml.change(delays_ms={})
        health = agent.until(lambda health: health.verdict is HealthVerdict.DEGRADED)
        assert {found.verdict for found in health.devices} == {HealthVerdict.HEALTHY}, "another reader reads on"
        assert str(pid) in health.reasons[0].message
    agent.until(lambda health: health.verdict is HealthVerdict.HEALTHY)


def test_processes_that_do_not_end_are_not_piled_up(modules: None) -> None:
    stuck = Stuck(most=1)
    child = stuck.start(READER)
    with frozen(child.pid):
        stuck.end(child)
        assert stuck.pids() == (child.pid,)
        with pytest.raises(TooManyStuck, match=str(child.pid)):
            stuck.start(READER)
    until_s = time.monotonic() + PATIENCE_S
    while stuck.pids():
        assert time.monotonic() < until_s
        time.sleep(0.05)
    stuck.end(stuck.start(READER))


def test_a_child_that_ends_is_told_apart_from_one_that_hangs(modules: None) -> None:
    stuck = Stuck()
    silent = stuck.start(READER)
    assert silent.next_line(PATIENCE_S)
    with pytest.raises(ChildHangs, match=r"no answer within 0\.2 s"):
        silent.next_line(0.2)
    stuck.end(silent)
    dead = stuck.start("nonesuch_module")
    with pytest.raises(ChildDied, match="it ended with exit code 1"):
        dead.next_line(PATIENCE_S)
    stuck.end(dead)


def test_a_reader_ends_when_its_agent_was_killed(modules: None) -> None:
    program = (
        "import os, signal\n"
        "from gpu_agent.child import Stuck\n"
        f"child = Stuck().start({READER!r})\n"
        "child.next_line(20)\n"
        "print(child.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    told = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    until_s = time.monotonic() + PATIENCE_S
    while _runs(told.stdout.strip()):
        assert time.monotonic() < until_s, "a reader without an agent should end"
        time.sleep(0.05)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children find the agent's modules."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(str(REPOSITORY / module) for module in MODULES))


def _runs(pid: str) -> bool:
    status = Path("/proc", pid, "stat")
    # An orphan that nobody waits for stays a zombie where process 1 does not collect them.
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def _hangs(agent: RunningAgent) -> float:
    ((_, hangs),) = agent.metrics()["nightreel_gpu_read_hangs_total"]
    return hangs


def _reader(agent: RunningAgent) -> int:
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    return next(int(pid) for pid in children if READER in Path(f"/proc/{pid}/cmdline").read_text())


@contextmanager
def frozen(pid: int) -> Iterator[int]:
    """A process that does not end when it is killed, as one inside a sick driver: the freezer holds it."""
    if not (FREEZER / "tasks").exists() or not os.access(FREEZER, os.W_OK):
        pytest.skip("a process that cannot be killed needs cgroup v1's freezer, and root")
    group = FREEZER / f"nightreel-test-{pid}"
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(pid))
        (group / "freezer.state").write_text("FROZEN")
        yield pid
    finally:
        (group / "freezer.state").write_text("THAWED")
        _remove(group, pid)


def _remove(group: Path, pid: int) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while (group / "cgroup.procs").read_text().strip():
        if time.monotonic() > until_s:
            (FREEZER / "cgroup.procs").write_text(str(pid))
        time.sleep(0.05)
    group.rmdir()
