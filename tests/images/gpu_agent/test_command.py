"""The agent by hand, and its settings."""

import subprocess
import sys
from pathlib import Path

import pytest

from gpu_agent.errors import SettingInvalid
from gpu_agent.settings import AgentSettings
from tests.images.gpu_agent.running_agent import agent_environment
from tests.simulation.nvml_state import HW_THERMAL_SLOWDOWN, NvmlStateFile


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
    assert "400 of 8192" in told.stdout

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
