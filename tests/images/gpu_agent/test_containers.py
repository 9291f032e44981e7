"""Processes on a device lead to their containers."""

import subprocess
from pathlib import Path

import pytest

from console.engine import docker
from gpu_agent.containers import PEAKS_KEPT_S, ContainerFinder, Peaks, container_in
from gpu_agent.reading import DeviceReading, ProcessReading
from tests.images.gpu_agent.running_agent import RunningAgent, device
from tests.simulation.nvml_state import SimulatedProcess

ONE, TWO = "1a" * 32, "2b" * 32


@pytest.mark.parametrize(
    ("cgroup", "container"),
    [
        (f"12:memory:/docker/{ONE}\n1:name=systemd:/docker/{ONE}\n", ONE),
        (f"0::/system.slice/docker-{ONE}.scope\n", ONE),
        (f"0::/../docker-{ONE}.scope\n", ONE),
        (f"4:memory:/docker/{ONE}/docker/{TWO}\n0::/\n", TWO),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", None),
        (f"0::/docker/{ONE}aa\n", None),
        ("", None),
    ],
)
def test_a_cgroup_names_the_innermost_container(cgroup: str, container: str | None) -> None:
    assert container_in(cgroup) == container


def test_a_process_that_just_ended_is_still_its_containers(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cgroup").write_text(f"0::/docker/{ONE}\n")
    finder = ContainerFinder(tmp_path)
    assert finder.find([7, 8]) == {7: ONE}
    (tmp_path / "7" / "cgroup").unlink()
    assert finder.find([7]) == {7: ONE}
    assert finder.find([]) == {}
    assert finder.find([7]) == {}, "the number may be another process's by now"


def used(*processes: tuple[int, int | None], uuid: str = "GPU-1") -> DeviceReading:
    listed = tuple(ProcessReading(pid=pid, used_mib=used_mib) for pid, used_mib in processes)
    return DeviceReading(device_uuid=uuid, gpu_uuid=uuid, gpu_index=0, name="NVIDIA L4", processes=listed)


def test_a_peak_is_the_most_that_a_containers_processes_took_together() -> None:
    peaks = Peaks()
    containers = {1: ONE, 2: ONE, 3: TWO}
    peaks.update([used((1, 500), (2, 300), (3, 50), (4, 9000))], containers, 0.0)
    peaks.update([used((1, 700)), used((1, 5), uuid="GPU-2")], containers, 1.0)
    told = {uuid: {peak.container_id: peak.peak_mib for peak in found} for uuid, found in peaks.told().items()}
    assert told == {"GPU-1": {ONE: 800, TWO: 50}, "GPU-2": {ONE: 5}}


def test_a_peak_is_kept_an_hour_after_the_last_sight() -> None:
    peaks = Peaks()
    peaks.update([used((1, 500))], {1: ONE}, 0.0)
    peaks.update([used()], {}, PEAKS_KEPT_S)
    assert peaks.told()
    peaks.update([used()], {}, PEAKS_KEPT_S + 1)
    assert not peaks.told()


def test_a_process_whose_use_is_not_told_has_no_peak() -> None:
    peaks = Peaks()
    peaks.update([used((1, None))], {1: ONE}, 0.0)
    assert not peaks.told()


def test_a_containers_process_is_told_by_its_container_and_a_foreign_one_is_not(agent: RunningAgent) -> None:
    container = docker("run", "--detach", "--rm", "--pull", "never", "nightreel/base:cpu", "sleep", "600")
    try:
        pid = int(docker("inspect", "--format", "{{.State.Pid}}", container))
        with subprocess.Popen(["sleep", "600"]) as foreign:
            processes = (
                SimulatedProcess(pid=pid, used_mib=3000),
                SimulatedProcess(pid=foreign.pid, used_mib=2000),
                SimulatedProcess(pid=foreign.pid + 1_000_000, used_mib=None, graphics=True),
            )
            agent.nvml.change_gpu("GPU-1", processes=processes)
            health = agent.until(lambda health: len(device(health, "GPU-1").processes) == 3)
            foreign.kill()
        told = {process.pid: (process.used_mib, process.container_id) for process in device(health, "GPU-1").processes}
        assert told == {pid: (3000, container), foreign.pid: (2000, None), foreign.pid + 1_000_000: (None, None)}
        assert device(health, "GPU-1").used_mib == 3000 + 2000 + 100
    finally:
        docker("kill", container)
    agent.nvml.change_gpu("GPU-1", processes=())
    health = agent.until(lambda health: not device(health, "GPU-1").processes)
    (peak,) = device(health, "GPU-1").peaks
    assert (peak.container_id, peak.peak_mib) == (container, 3000)
