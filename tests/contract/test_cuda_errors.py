"""`stage_contract.cuda_errors`, with texts that the libraries really raise (from their sources and users' reports)."""

import pytest

from stage_contract.cuda_errors import device_failure, device_fault
from stage_contract.vocabulary import DeviceFault

WHEEL = "ctranslate2 4.8.5"

OUT_OF_MEMORY = [
    "CUDA failed with error out of memory",
    "std::bad_alloc: cudaErrorMemoryAllocation: out of memory",
    "cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED",
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 4.00 GiB of which 0 bytes is free. "
    "Of the allocated memory 3.27 GiB is allocated by PyTorch, and 257.08 MiB is reserved by PyTorch but unallocated.",
    "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API call",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
]
UNSUITABLE = [
    "parallel_for failed: cudaErrorNoKernelImageForDevice: no kernel image is available for execution on the device",
    "CUDA error: no kernel image is available for execution on the device\nCompile with `TORCH_USE_CUDA_DSA`",
    "cuBLAS failed with status CUBLAS_STATUS_NOT_SUPPORTED",
    "cuBLAS failed with status CUBLAS_STATUS_ARCH_MISMATCH",
    "CUDA failed with error CUDA driver version is insufficient for CUDA runtime version",
    "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver",
    "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU",
    "CUDA error: the provided PTX was compiled with an unsupported toolchain.",
    "Library libcublas.so.12 is not found or cannot be loaded",
    "Torch not compiled with CUDA enabled",
    "This CTranslate2 package was not compiled with CUDA support",
    "CUDA error: CUDA driver is a stub library (cuInit)",
]
BROKEN = [
    "CUDA failed with error an illegal memory access was encountered",
    "CUDA failed with error uncorrectable ECC error encountered",
    "CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronously reported",
    "CUDA error: the launch timed out and was terminated",
    "cuBLAS failed with status CUBLAS_STATUS_EXECUTION_FAILED",
    "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    "CUDA error: GPU is lost",
    "CUDA unknown error - this may be due to an incorrectly set up environment",
    "NVML error: GPU is lost (nvmlDeviceGetMemoryInfo)",
    "parallel_for failed: cudaErrorIllegalAddress: an illegal memory access was encountered",
]
NOT_THE_DEVICE = [
    "The size of tensor a (3) must match the size of tensor b (4) at non-singleton dimension 1",
    "std::bad_alloc",
    "[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "4000000000000 bytes. Error code 12 (Cannot allocate memory)",
    "Unable to open file 'model.bin' in model '/opt/models/whisper'",
    "Invalid input features shape: expected an input with shape (1, 80, 3000), but got (1, 128, 3000) instead",
]


@pytest.mark.parametrize("text", OUT_OF_MEMORY)
def test_a_shortage_of_memory_is_no_sickness(text: str) -> None:
    assert device_fault(text) is DeviceFault.OUT_OF_MEMORY


@pytest.mark.parametrize("text", UNSUITABLE)
def test_a_build_that_does_not_serve_the_device_is_unsuitable(text: str) -> None:
    assert device_fault(text) is DeviceFault.UNSUITABLE


@pytest.mark.parametrize("text", BROKEN)
def test_any_other_error_of_the_device_means_that_it_is_broken(text: str) -> None:
    assert device_fault(text) is DeviceFault.BROKEN


@pytest.mark.parametrize("text", NOT_THE_DEVICE)
def test_other_errors_are_not_laid_at_the_device(text: str) -> None:
    assert device_fault(text) is None
    assert device_failure(text, WHEEL) is None


def test_what_does_not_suit_names_the_wheel_and_the_driver_to_change() -> None:
    failure = device_failure(UNSUITABLE[2], WHEEL)
    assert failure is not None
    assert WHEEL in str(failure)
    assert "newer NVIDIA driver" in str(failure)


def test_what_is_broken_is_to_be_taken_out_of_service() -> None:
    assert "take the device out of service" in str(device_failure(BROKEN[1], WHEEL))


def test_pages_of_advice_are_left_out() -> None:
    told = str(device_failure(UNSUITABLE[1], WHEEL))
    assert "no kernel image" in told
    assert "TORCH_USE_CUDA_DSA" not in told
