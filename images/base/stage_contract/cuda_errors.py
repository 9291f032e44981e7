"""What CUDA and the libraries on top of it say when a GPU fails, and what that means. Decides only."""

import re

from stage_contract.errors import DeviceFailure
from stage_contract.vocabulary import DeviceFault

# cuBLAS and cuDNN that cannot make their handle are nearly always short of memory for it: torch and CTranslate2 make
# it late, when the models have taken theirs.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|cudaErrorMemoryAllocation|CU(BLAS|DNN)_STATUS_(ALLOC_FAILED|NOT_INITIALIZED)", re.IGNORECASE
)
_UNSUITABLE = re.compile(
    r"no kernel image|invalid device function|CU(BLAS|DNN)_STATUS_(ARCH_MISMATCH|NOT_SUPPORTED|VERSION_MISMATCH)"
    r"|driver version is insufficient|driver on your system is too old|no NVIDIA driver on your system"
    r"|unsupported toolchain|forward compatibility was attempted|driver is a stub library"
    r"|not compiled with CUDA|Library \S+ is not found or cannot be loaded",
    re.IGNORECASE,
)
_OF_THE_DEVICE = re.compile(r"CUDA|cuBLAS|cuDNN|NVRTC|NVML|NVIDIA", re.IGNORECASE)

_SENTENCES = {
    DeviceFault.OUT_OF_MEMORY: (
        "the work must fit the device's free memory: {told}; nvidia-smi on the host names who takes it; "
        "give the stage a smaller batch, compute type or model, or the cpu variant"
    ),
    DeviceFault.UNSUITABLE: (
        "the image's libraries must serve the device and its driver: {told}; {wheel} is installed: use an image with "
        "another one, a newer NVIDIA driver on the host, or the cpu variant"
    ),
    DeviceFault.BROKEN: (
        "the device must do the work that it is given: {told}; look for Xid errors in the host's kernel log, restart "
        "the host if its driver was updated, else take the device out of service"
    ),
}


def device_fault(text: str) -> DeviceFault | None:
    """What an error's text says of the device; none when it is not about the device."""
    if _UNSUITABLE.search(text):
        return DeviceFault.UNSUITABLE
    if not _OF_THE_DEVICE.search(text):
        return None
    return DeviceFault.OUT_OF_MEMORY if _OUT_OF_MEMORY.search(text) else DeviceFault.BROKEN


def device_failure(text: str, wheel: str) -> DeviceFailure | None:
    """The failure that an error's text stands for; none when it is not about the device.

    `wheel` is the library that raised it, with its version (`ctranslate2 4.8.5`).
    """
    fault = device_fault(text)
    return failure_as(fault, text, wheel) if fault else None


def failure_as(fault: DeviceFault, text: str, wheel: str) -> DeviceFailure:
    """A failure whose fault is known. Only the first line of `text` is told: torch adds pages of advice."""
    told = next(iter(text.strip().splitlines()), "no reason was given")
    return DeviceFailure(fault, _SENTENCES[fault].format(told=told, wheel=wheel))
