"""The device that CTranslate2 computes on. The only place that knows what sets a GPU apart.

CTranslate2 tells nothing of the VRAM it takes, so phases have no VRAM figures; NVML on the host sees it per container.
"""

import contextlib
import logging
from collections.abc import Iterator
from typing import Protocol

import ctranslate2

from audio_stage.proof import prove_numbers
from stage_contract.cuda_device import check_cuda_device
from stage_contract.cuda_errors import device_failure
from stage_contract.errors import DeviceFailure
from stage_contract.request import StageRequest
from stage_contract.vocabulary import DeviceFault, Variant

WHEEL = f"ctranslate2 {ctranslate2.__version__}"

log = logging.getLogger("stage")


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
