"""`stage_contract.cuda_device` with libraries that answer as NVIDIA's driver does: no GPU is at hand."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stage_contract.cuda_device import CudaDevice, DeviceMemory, check_cuda_device, read_cuda_device, read_memory
from stage_contract.errors import DeviceFailure
from stage_contract.request import RequestItem, StageRequest, TaskKey
from stage_contract.vocabulary import DeviceFault, Stage, Variant

SEEN = "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf"


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Both libraries of the driver, in one file."""
    library = tmp_path_factory.mktemp("driver") / "libdriver.so"
    source = Path(__file__).with_name("driver_stub.c")
    subprocess.run(["gcc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source], check=True)
    return str(library)


def request(device: str = f"GPU-{SEEN}", need_mib: int = 0) -> StageRequest:
    item = RequestItem(asset_id="0" * 64, source="archive/a.mp4", size_bytes=1, mtime_ns=1, fingerprint="0" * 24)
    return StageRequest(
        stage=Stage.TRANSCRIBE,
        task=TaskKey(dag_id="test", run_id="test", task_id="audio", try_number=1),
        variant=Variant.CUDA,
        device=device,
        need_mib=need_mib,
        compute_type="float16",
        parameters={},
        submitted_at=datetime.now(UTC),
        items=(item,),
    )


def failure(asked: StageRequest, driver: str) -> DeviceFailure:
    with pytest.raises(DeviceFailure) as caught:
        check_cuda_device(asked, driver, driver)
    return caught.value


def test_the_device_and_its_memory_are_told(driver: str) -> None:
    assert read_cuda_device(driver) == CudaDevice(SEEN, "NVIDIA Stub 8GB", (8, 6), (12, 4))
    assert read_memory(f"GPU-{SEEN}", driver) == DeviceMemory(free_mib=7600, total_mib=8192)


@pytest.mark.parametrize("device", [f"GPU-{SEEN}", f"MIG-{SEEN}"])
def test_the_device_that_the_request_names_is_taken(driver: str, device: str) -> None:
    assert check_cuda_device(request(device, need_mib=7600), driver, driver).uuid == SEEN


@pytest.mark.parametrize("device", ["GPU-00000000-a4a5-a6a7-a8a9-aaabacadaeaf", "cpu"])
def test_another_device_is_refused_as_broken(driver: str, device: str) -> None:
    error = failure(request(device), driver)
    assert error.fault is DeviceFault.BROKEN
    assert device in str(error)
    assert SEEN in str(error)


def test_too_little_free_memory_names_who_to_ask_for_the_rest(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_FREE_MIB", "3000")
    error = failure(request(need_mib=4608), driver)
    assert error.fault is DeviceFault.OUT_OF_MEMORY
    assert "needs 4608 MiB" in str(error)
    assert "3000 of 8192" in str(error)
    assert "nvidia-smi" in str(error)


def test_no_need_asks_for_no_memory(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_FREE_MIB", "0")
    monkeypatch.setenv("STUB_NVML_INIT", "18")
    assert check_cuda_device(request(), driver, driver).uuid == SEEN


@pytest.mark.parametrize(
    ("variable", "value", "fault", "told"),
    [
        ("STUB_CU_INIT", "100", DeviceFault.BROKEN, "no CUDA-capable device"),
        ("STUB_CU_INIT", "803", DeviceFault.BROKEN, "restart the host if its driver was updated"),
        ("STUB_CU_INIT", "804", DeviceFault.UNSUITABLE, "a newer NVIDIA driver"),
        ("STUB_CU_INIT", "2", DeviceFault.OUT_OF_MEMORY, "out of memory"),
        ("STUB_CU_INIT", "999", DeviceFault.BROKEN, "code 999"),
        ("STUB_CU_COUNT", "0", DeviceFault.BROKEN, "needs a GPU"),
        ("STUB_NVML_INIT", "18", DeviceFault.BROKEN, "Driver/library version mismatch"),
        ("STUB_NVML_HANDLE", "6", DeviceFault.BROKEN, "Not Found"),
    ],
)
def test_what_the_driver_refuses_is_told(
    driver: str, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, fault: DeviceFault, told: str
) -> None:
    monkeypatch.setenv(variable, value)
    error = failure(request(need_mib=1), driver)
    assert error.fault is fault
    assert told in str(error)


def test_a_container_without_a_driver_is_told_how_to_get_one() -> None:
    with pytest.raises(DeviceFailure, match="NVIDIA's container runtime") as caught:
        check_cuda_device(request(), "libnothing.so.1")
    assert caught.value.fault is DeviceFault.UNSUITABLE


def test_a_driver_without_a_function_is_too_old(driver: str) -> None:
    with pytest.raises(DeviceFailure, match="a newer NVIDIA driver") as caught:
        read_memory(f"GPU-{SEEN}", "libm.so.6")
    assert caught.value.fault is DeviceFault.UNSUITABLE
