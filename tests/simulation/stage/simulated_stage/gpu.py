"""The GPU that the container was handed, as the stand-in for NVIDIA's library tells of it."""

import ctypes
from dataclasses import dataclass, replace
from pathlib import Path

from stage_contract.errors import DeviceFailure
from stage_contract.vocabulary import DeviceFault

LIBRARY = "libnvidia-ml.so.1"
SUCCESS = 0
NOT_SUPPORTED = 3
TEXT_BYTES = 96
MIB = 1024 * 1024
VRAM_FILE = Path("/work/vram_mib")
"""Says how much VRAM this container holds: the simulated driver reads it, and frees it when the container ends."""


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


@dataclass(frozen=True)
class SimulatedGpu:
    """A device that was proven: it is the only one, and the one that was named."""

    uuid: str
    library: ctypes.CDLL

    held_mib: int = 0

    def take(self, mib: int) -> "SimulatedGpu":
        """Hold so much VRAM in all, no more and no less.

        Raises:
            DeviceFailure: there is not so much, or the device does not answer.
        """
        free_mib = self.free_mib()
        if mib - self.held_mib > free_mib:
            raise DeviceFailure(
                DeviceFault.OUT_OF_MEMORY,
                f"VRAM must hold {mib} MiB: this container holds {self.held_mib}, and {self.uuid} has {free_mib} free; "
                "see what else runs there",
            )
        part = VRAM_FILE.with_name(f".{VRAM_FILE.name}")
        part.write_text(str(mib))
        part.replace(VRAM_FILE)
        return replace(self, held_mib=mib)

    def free_mib(self) -> int:
        """VRAM that nobody takes now.

        Raises:
            DeviceFailure: the device does not answer.
        """
        handle = ctypes.c_void_p()
        _call(self.library, "nvmlDeviceGetHandleByUUID", self.uuid.encode(), ctypes.byref(handle))
        memory = _Memory()
        _call(self.library, "nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory))
        return int(memory.free) // MIB


def open_gpu(uuid: str, need_mib: int) -> SimulatedGpu:
    """The GPU that the request names, proven: alone in this container, answering, with VRAM enough.

    Raises:
        DeviceFailure: it is absent, another one, failing, or short of memory.
    """
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise DeviceFailure(
            DeviceFault.BROKEN,
            f"a container with a GPU must hold the driver's {LIBRARY}: it does not ({error}); look at the host's "
            "container hook",
        ) from error
    _call(library, "nvmlInit_v2")
    seen = _visible(library)
    if seen != [uuid]:
        raise DeviceFailure(
            DeviceFault.BROKEN,
            f"the container must see one GPU, the one that the request names: named {uuid}, seen "
            f"{', '.join(seen) or 'none'}; look at the device request and the lease",
        )
    gpu = SimulatedGpu(uuid, library)
    free_mib = gpu.free_mib()
    if free_mib < need_mib:
        raise DeviceFailure(
            DeviceFault.OUT_OF_MEMORY,
            f"the work needs {need_mib} MiB of free VRAM: {uuid} has {free_mib}; another program took the rest",
        )
    return gpu


def _visible(library: ctypes.CDLL) -> list[str]:
    count = ctypes.c_uint()
    _call(library, "nvmlDeviceGetCount_v2", ctypes.byref(count))
    seen = []
    for index in range(count.value):
        gpu = ctypes.c_void_p()
        _call(library, "nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(gpu))
        seen += [_uuid(library, handle) for handle in _slices(library, gpu) or [gpu]]
    return seen


def _slices(library: ctypes.CDLL, gpu: ctypes.c_void_p) -> list[ctypes.c_void_p]:
    most = ctypes.c_uint()
    if library.nvmlDeviceGetMaxMigDeviceCount(gpu, ctypes.byref(most)) == NOT_SUPPORTED:
        return []
    found = []
    for index in range(most.value):
        handle = ctypes.c_void_p()
        code = library.nvmlDeviceGetMigDeviceHandleByIndex(gpu, ctypes.c_uint(index), ctypes.byref(handle))
        if code == SUCCESS:
            found.append(handle)
    return found


def _uuid(library: ctypes.CDLL, handle: ctypes.c_void_p) -> str:
    text = ctypes.create_string_buffer(TEXT_BYTES)
    _call(library, "nvmlDeviceGetUUID", handle, text, ctypes.c_uint(TEXT_BYTES))
    return text.value.decode()


def _call(library: ctypes.CDLL, function: str, *arguments: object) -> None:
    code = getattr(library, function)(*arguments)
    if code != SUCCESS:
        describe = library.nvmlErrorString
        describe.restype = ctypes.c_char_p
        raise DeviceFailure(
            DeviceFault.BROKEN,
            f"the GPU must answer: {function} says {describe(code).decode()} ({code}); see `nvidia-smi` on the host",
        )
