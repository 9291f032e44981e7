"""The agent by hand, and its settings."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpu_agent.errors import SettingInvalid
from gpu_agent.settings import AgentSettings
from tests.images.gpu_agent.running_agent import PATIENCE_S, agent_environment, running_agent
from tests.simulation.nvml_state import DRIVER_NOT_LOADED, HW_THERMAL_SLOWDOWN, UNKNOWN_ERROR, NvmlStateFile


def once(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gpu_agent", "--once"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_once_prints_a_table_with_the_reasons_and_tells_whether_the_gpus_are_usable(
    nvml_library: Path, nvml: NvmlStateFile
) -> None:
    environment = agent_environment(nvml_library, nvml.path.parent)
    nvml.change_gpu("GPU-2", slowdowns=HW_THERMAL_SLOWDOWN, temperature_c=97)
    told = once(environment)
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[0].startswith("DEGRADED   driver 570.86.15")
    assert "because of heat at 97 °C" in told.stdout
    assert "100 of 7892" in told.stdout

    nvml.change_gpu("GPU-2", recovery_action=1)
    told = once(environment)
    assert told.returncode == 1
    assert "recovery_needed: the driver asks for gpu_reset" in told.stdout


def test_a_machine_without_nvidias_library_is_told_what_to_do(tmp_path: Path) -> None:
    told = once(agent_environment(tmp_path / "libnvidia-ml.so.1", tmp_path))
    assert told.returncode == 1
    assert told.stdout.startswith("UNHEALTHY")
    assert "nvml_missing" in told.stdout
    assert "install the driver" in told.stdout


def test_a_library_that_ends_its_process_does_not_end_the_agent(tmp_path: Path) -> None:
    library = tmp_path / "libnvidia-ml.so.1"
    source = "#include <stdlib.h>\nint nvmlInitWithFlags(unsigned flags) { (void)flags; abort(); }\n"
    command = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    subprocess.run(command, input=source, text=True, check=True)
    told = once(agent_environment(library, tmp_path))
    assert told.returncode == 1
    assert "it ended by signal 6" in told.stdout


def test_a_setting_that_is_no_time_is_refused(nvml_library: Path, tmp_path: Path) -> None:
    told = once(agent_environment(nvml_library, tmp_path, NIGHTREEL_GPU_READ_DEADLINE_S="soon"))
    assert told.returncode == 2
    assert "NIGHTREEL_GPU_READ_DEADLINE_S must be seconds, a number above 0: it is 'soon'" in told.stderr
    with pytest.raises(SettingInvalid):
        AgentSettings.from_environment({"NIGHTREEL_GPU_XID_MEMORY_S": "0"})


def test_an_empty_setting_is_its_default() -> None:
    assert AgentSettings.from_environment({"NIGHTREEL_GPU_READ_EVERY_S": " "}) == AgentSettings()


def serving(environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gpu_agent", "--address", "127.0.0.1", "--port", "0"]
    with log.open("w") as output:
        return subprocess.Popen(command, env=environment, stderr=output, stdout=output)


def test_an_agent_whose_container_lost_its_devices_ends_to_be_started_anew(
    nvml_library: Path, nvml: NvmlStateFile, tmp_path: Path
) -> None:
    environment = agent_environment(nvml_library, nvml.path.parent, NIGHTREEL_GPU_UNKNOWN_ERROR_S="2")
    log = tmp_path / "agent.log"
    agent = serving(environment, log)
    try:
        for code in (UNKNOWN_ERROR, DRIVER_NOT_LOADED, UNKNOWN_ERROR, 0):
            # Shorter than it is borne, or another fault: it stays.
            nvml.change(init_code=code)
            time.sleep(1.2 if code == UNKNOWN_ERROR else 0.6)
            assert agent.poll() is None, log.read_text()
        nvml.change(init_code=UNKNOWN_ERROR)
        assert agent.wait(PATIENCE_S) == 1
    finally:
        agent.kill()
        agent.wait()
    assert re.search(r"ERROR NVML's start must not answer 999 for 2 s: .* Docker starts it anew", log.read_text())


def test_the_log_has_a_line_for_each_verdict_that_changes(
    nvml_library: Path, nvml: NvmlStateFile, tmp_path: Path
) -> None:
    log = tmp_path / "agent.log"
    with running_agent(agent_environment(nvml_library, nvml.path.parent), nvml, log) as agent:
        agent.until(lambda health: len(health.devices) == 2)
        nvml.change_gpu("GPU-2", lost=True)
        agent.until(lambda health: health.verdict == "unhealthy")
        time.sleep(0.5)
        nvml.change_gpu("GPU-2", lost=False)
        agent.until(lambda health: health.verdict == "healthy")
        # A line is written a moment after it is answered.
        time.sleep(0.5)
    told = re.findall(r"(INFO|WARNING) ((?:GPU-\d|the host).* is .*)", log.read_text())
    assert [line for _, line in told[:3]] == [
        "the host is healthy",
        "GPU-1 (NVIDIA L4) is healthy",
        "GPU-2 (NVIDIA A10) is healthy",
    ]
    assert [level for level, _ in told] == [*["INFO"] * 3, *["WARNING"] * 2, *["INFO"] * 2]
    assert told[4][1].startswith("GPU-2 (NVIDIA A10) is unhealthy: gpu_lost: NVML says 'GPU is lost' (15)")
    assert [line for _, line in told[5:]] == ["the host is healthy", "GPU-2 (NVIDIA A10) is healthy"]
