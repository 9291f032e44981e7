"""The device that CTranslate2 computes on. The only place that knows what sets a GPU apart.

CTranslate2 tells nothing of the VRAM it takes, so phases have no VRAM figures; NVML on the host sees it per container.
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import ctranslate2

from audio_stage.proof import prove_numbers
from stage_contract.cuda_device import check_cuda_device
from stage_contract.cuda_errors import device_failure
from stage_contract.errors import DeviceFailure
from stage_contract.request import StageRequest
from stage_contract.resources import cpu_threads
from stage_contract.vocabulary import DeviceFault, Variant

WHEEL = f"ctranslate2 {ctranslate2.__version__}"

# With fewer, a worker reads the decoder's weights more often than the threads it saves are worth.
MIN_WINDOWS_PER_WORKER = 4
INT8_TYPES = ("int8", "int8_float32")

log = logging.getLogger("stage")


@dataclass(frozen=True)
class WorkSplit:
    """How a batch is computed: by `workers` at a time, each with its share of the windows and its own threads.

    `encoded_at_once`: windows of a share that go through the encoder together; they are decoded all together.
    """

    workers: int
    threads_each: int
    encoded_at_once: int


class Device(Protocol):
    """Where a model is loaded and run. `name` is CTranslate2's.

    `proof_error` is how far its numbers were off the CPU's, as a share; none where that was not asked.
    """

    name: str
    compute_type: str
    proof_error: float | None

    def guard(self) -> contextlib.AbstractContextManager[None]:
        """Around everything that runs the model.

        Raises:
            DeviceFailure: in place of what the library raises when the device fails.
        """

    def weights(self, model_dir: Path) -> Path:
        """The folder to load the model from."""

    def split(self, batch_size: int) -> WorkSplit:
        """How to compute `batch_size` windows."""

    def prove(self, request: StageRequest) -> None:
        """Show, before a model is loaded, that the device is the one asked for and computes.

        Raises:
            DeviceFailure: it is another one, lacks memory, is not served by the libraries, or computes wrong numbers.
        """


class Cpu:
    """The CPU needs no proof: what fails on it is a fault of ours."""

    name = "cpu"

    def __init__(self, compute_type: str) -> None:
        self.compute_type = compute_type
        self.proof_error: float | None = None

    def guard(self) -> contextlib.AbstractContextManager[None]:
        """Let errors through as they are."""
        return contextlib.nullcontext()

    def weights(self, model_dir: Path) -> Path:
        """The int8 copy for the int8 types: made at each load, it takes half a second (base.en)."""
        copy = model_dir / "int8"
        return copy if self.compute_type in INT8_TYPES and copy.is_dir() else model_dir

    def split(self, batch_size: int) -> WorkSplit:
        """A worker per thread, as long as each has enough to do.

        The encoder takes windows one by one: the attention of one fits into the cache (measured: half the time).
        """
        threads = cpu_threads()
        workers = max(1, min(threads, batch_size // MIN_WINDOWS_PER_WORKER))
        return WorkSplit(workers, threads // workers, encoded_at_once=1)

    def prove(self, request: StageRequest) -> None:
        """Nothing to show but the compute type."""
        check_compute_type(self.name, self.compute_type)


class CudaGpu:
    """The GPU, or slice of one, that the container was given."""

    name = "cuda"

    def __init__(self, compute_type: str) -> None:
        self.compute_type = compute_type
        self.proof_error: float | None = None

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Turn errors of CUDA and its libraries, out of memory among them, into `DeviceFailure`."""
        try:
            yield
        # Where an allocation fails within thrust, CTranslate2's error becomes a MemoryError.
        except (RuntimeError, MemoryError) as error:
            failure = device_failure(str(error), WHEEL)
            if failure is None:
                raise
            raise failure from error

    def weights(self, model_dir: Path) -> Path:
        """The float16 weights: a GPU quantizes them in no time."""
        return model_dir

    def split(self, batch_size: int) -> WorkSplit:
        """One worker: the GPU computes the whole batch at a time."""
        return WorkSplit(1, cpu_threads(), encoded_at_once=batch_size)

    def prove(self, request: StageRequest) -> None:
        """CTranslate2 has no list of the GPUs that it serves: whether it has kernels shows when it computes."""
        device = check_cuda_device(request)
        with self.guard():
            check_compute_type(self.name, self.compute_type)
            self.proof_error = prove_numbers(self.name, self.compute_type)
        log.info(
            "%s (sm_%d%d), driver for CUDA %d.%d: a small encoder in %s is within %.2g of the CPU's numbers",
            *(device.name, *device.capability, *device.cuda_version, self.compute_type, self.proof_error),
        )


_DEVICES: dict[Variant, type[Cpu] | type[CudaGpu]] = {Variant.CPU: Cpu, Variant.CUDA: CudaGpu}


def open_device(request: StageRequest) -> Device:
    """The device of a request, shown to compute in the request's compute type.

    Raises:
        DeviceFailure: it is not there, not the one asked for, or does not do.
    """
    device = _DEVICES[request.variant](request.compute_type)
    device.prove(request)
    return device


def check_compute_type(device: str, compute_type: str) -> None:
    """Refuse a type that CTranslate2 would silently replace by another on this device.

    Raises:
        DeviceFailure: the device does not have it.
    """
    supported = sorted(ctranslate2.get_supported_compute_types(device))
    if compute_type not in supported:
        raise DeviceFailure(
            DeviceFault.UNSUITABLE,
            f"the compute type must be one that {WHEEL} has on this {device} device: {', '.join(supported)}; asked "
            f"{compute_type!r}; ask for one of these, or use an image with another ctranslate2",
        )
