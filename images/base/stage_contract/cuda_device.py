"""The GPU that a container was handed, before any model library touches it.

Two libraries of NVIDIA's driver tell, which come into the container with the GPU: CUDA's, on which device the work
will run; and NVML, how much of its memory is free. CUDA knows that too, but only once the process has taken some
hundred MiB itself.
"""

import ctypes
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from stage_contract.cuda_errors import device_failure, failure_as
from stage_contract.errors import DeviceFailure
from stage_contract.request import StageRequest
from stage_contract.vocabulary import DeviceFault

CUDA_LIBRARY = "libcuda.so.1"
NVML_LIBRARY = "libnvidia-ml.so.1"
MIB = 1024 * 1024

# cuda.h: CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR.
_CAPABILITY_ATTRIBUTES = (75, 76)
_NAME_BYTES = 96
_DRIVER = "NVIDIA's driver"


class _NvmlMemory(ctypes.Structure):
    """nvml.h, nvmlMemory_t: bytes. `used` holds the driver's reserve."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


@dataclass(frozen=True)
class CudaDevice:
    """CUDA's first device. `uuid` has no prefix: CUDA does not tell a GPU from a MIG slice by it."""

    uuid: str
    name: str
    capability: tuple[int, int]
    cuda_version: tuple[int, int]
    """The newest that the driver serves."""


@dataclass(frozen=True)
class DeviceMemory:
    """As NVML sees it, over all processes."""

    free_mib: int
    total_mib: int


def check_cuda_device(
    request: StageRequest, cuda_library: str = CUDA_LIBRARY, nvml_library: str = NVML_LIBRARY
) -> CudaDevice:
    """The device of a request for the cuda variant: the one that it names, with the memory that it needs.

    Raises:
        DeviceFailure: there is no driver or no device, it is another one, or its free memory does not suffice.
    """
    device = read_cuda_device(cuda_library)
    wanted = request.device.partition("-")[2].lower()
    if wanted != device.uuid:
        raise DeviceFailure(
            DeviceFault.BROKEN,
            f"the container must see the device that the request names: asked {request.device}, CUDA's first is "
            f"{device.uuid} ({device.name}); look for a GPU that was lost, and give the container that one alone",
        )
    if request.need_mib:
        _check_memory(request, device, read_memory(request.device, nvml_library))
    return device


def _check_memory(request: StageRequest, device: CudaDevice, memory: DeviceMemory) -> None:
    if memory.free_mib >= request.need_mib:
        return
    raise DeviceFailure(
        DeviceFault.OUT_OF_MEMORY,
        f"{request.stage} needs {request.need_mib} MiB of free VRAM: {request.device} ({device.name}) has "
        f"{memory.free_mib} of {memory.total_mib}, other processes and the driver take the rest; nvidia-smi on the "
        "host names them: end them, or raise the reserve",
    )


def read_cuda_device(library: str = CUDA_LIBRARY) -> CudaDevice:
    """CUDA's first device. Takes no memory on it.

    Raises:
        DeviceFailure: there is no driver, or it finds no device.
    """
    cuda = _Library(library, "CUDA", _cuda_error)
    device, count, version = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    cuda.call("cuInit", ctypes.c_uint(0))
    cuda.call("cuDeviceGetCount", ctypes.byref(count))
    if not count.value:
        raise failure_as(DeviceFault.BROKEN, "the cuda variant needs a GPU, and CUDA finds none", _DRIVER)
    cuda.call("cuDeviceGet", ctypes.byref(device), 0)
    # The second version tells a MIG slice's own UUID, the first its GPU's.
    identity = ctypes.create_string_buffer(16)
    cuda.call("cuDeviceGetUuid_v2", identity, device)
    name = ctypes.create_string_buffer(_NAME_BYTES)
    cuda.call("cuDeviceGetName", name, _NAME_BYTES, device)
    capability = []
    for attribute in _CAPABILITY_ATTRIBUTES:
        number = ctypes.c_int()
        cuda.call("cuDeviceGetAttribute", ctypes.byref(number), attribute, device)
        capability.append(number.value)
    cuda.call("cuDriverGetVersion", ctypes.byref(version))
    return CudaDevice(
        uuid=str(uuid.UUID(bytes=identity.raw)),
        name=name.value.decode(errors="replace"),
        capability=(capability[0], capability[1]),
        cuda_version=(version.value // 1000, version.value % 1000 // 10),
    )


def read_memory(device_uuid: str, library: str = NVML_LIBRARY) -> DeviceMemory:
    """The memory of a GPU or MIG slice, named as the driver does (`GPU-…`, `MIG-…`).

    Raises:
        DeviceFailure: NVML is not there, or does not know the device.
    """
    with _nvml(library) as nvml:
        handle, memory = ctypes.c_void_p(), _NvmlMemory()
        nvml.call("nvmlDeviceGetHandleByUUID", device_uuid.encode(), ctypes.byref(handle))
        nvml.call("nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory))
    return DeviceMemory(memory.free // MIB, memory.total // MIB)


@contextmanager
def _nvml(library: str) -> Iterator["_Library"]:
    nvml = _Library(library, "NVML", _nvml_error)
    nvml.call("nvmlInit_v2")
    try:
        yield nvml
    finally:
        nvml.call("nvmlShutdown")


def _cuda_error(library: Any, code: int) -> bytes | None:
    text = ctypes.c_char_p()
    library.cuGetErrorString(code, ctypes.byref(text))
    return text.value


def _nvml_error(library: Any, code: int) -> bytes | None:
    library.nvmlErrorString.restype = ctypes.c_char_p
    text: bytes | None = library.nvmlErrorString(code)
    return text


class _Library:
    """A library of the driver, whose functions return 0 when all is well."""

    def __init__(self, name: str, told_as: str, error_text: Callable[[Any, int], bytes | None]) -> None:
        self._told_as = told_as
        self._error_text = error_text
        try:
            self._library: Any = ctypes.CDLL(name)
        except OSError as error:
            raise DeviceFailure(
                DeviceFault.UNSUITABLE,
                f"the cuda variant needs a GPU and NVIDIA's driver: {name} is not in the container ({error}); give it "
                "a GPU (--gpus) through NVIDIA's container runtime, with the capabilities compute and utility, or use "
                "the cpu variant",
            ) from error

    def call(self, function: str, *arguments: Any) -> None:
        """Call a function.

        Raises:
            DeviceFailure: it failed, or the driver is too old to have it.
        """
        try:
            code = getattr(self._library, function)(*arguments)
        except AttributeError as error:
            text = f"the NVIDIA driver must have {function}: it is older"
            raise failure_as(DeviceFault.UNSUITABLE, text, _DRIVER) from error
        if code:
            described = self._error_text(self._library, code)
            reason = described.decode(errors="replace") if described else f"code {code}"
            text = f"{self._told_as} error: {reason} ({function})"
            raise device_failure(text, _DRIVER) or failure_as(DeviceFault.BROKEN, text, _DRIVER)
