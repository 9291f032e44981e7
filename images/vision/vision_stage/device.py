"""The one place where a variant becomes a torch device.

A cuda device is proven before a model is loaded on it. Nothing here falls back to the CPU.
"""

import contextlib
import gc
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from stage_contract.cuda_device import check_cuda_device
from stage_contract.cuda_errors import device_failure, failure_as
from stage_contract.errors import DeviceFailure
from stage_contract.phases import DeviceMeter
from stage_contract.request import StageRequest
from stage_contract.vocabulary import DeviceFault, Variant
from vision_stage.cuda_architectures import serves
from vision_stage.proof import prove_numbers

COMPUTE_TYPES: dict[Variant, dict[str, torch.dtype]] = {
    Variant.CPU: {"float32": torch.float32, "bfloat16": torch.bfloat16},
    Variant.CUDA: {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16},
}
WHEEL = f"torch {torch.__version__}, built for {f'CUDA {torch.version.cuda}' if torch.version.cuda else 'the CPU only'}"

log = logging.getLogger("stage")


@dataclass(frozen=True)
class ComputeDevice:
    """Where models run, in which type, and how many pictures at a time.

    `proof_error` is how far its numbers were off the CPU's, as a share; none where that was not asked.
    """

    torch_device: torch.device
    dtype: torch.dtype
    batch_size: int
    meter: DeviceMeter
    proof_error: float | None = None


class CudaMeter(DeviceMeter):
    """Waits for the GPU, and reads the peak of what this process took of its memory."""

    def drain(self) -> None:
        """Wait until the GPU has done what it was given."""
        torch.cuda.synchronize()

    def reset_peak(self) -> None:
        """Forget the peak VRAM seen so far."""
        torch.cuda.reset_peak_memory_stats()

    def peak_vram_mib(self) -> float | None:
        """Peak of torch's own allocations since the last reset, MiB."""
        return float(torch.cuda.max_memory_allocated()) / 2**20


def open_device(request: StageRequest) -> ComputeDevice:
    """The device of a request, proven to work.

    Raises:
        ValueError: the variant has no such compute type.
        DeviceFailure: the device is absent, another one, short of memory, not served by this torch, or computes wrong
            numbers.
    """
    known = COMPUTE_TYPES[request.variant]
    if request.compute_type not in known:
        raise ValueError(
            f"compute type on {request.variant} must be one of {', '.join(known)}: got {request.compute_type!r}"
        )
    dtype = known[request.compute_type]
    if request.variant is Variant.CPU:
        return ComputeDevice(torch.device("cpu"), dtype, request.batch_size, DeviceMeter())
    device = torch.device("cuda")
    with device_errors():
        proof_error = _prove(request, device, dtype)
    torch.backends.cudnn.deterministic = True
    return ComputeDevice(device, dtype, request.batch_size, CudaMeter(), proof_error)


@contextlib.contextmanager
def device_errors() -> Iterator[None]:
    """Turn what torch raises when a GPU fails or is out of memory into a `DeviceFailure`."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise failure_as(DeviceFault.OUT_OF_MEMORY, str(error), WHEEL) from error
    except RuntimeError as error:
        failure = device_failure(str(error), WHEEL)
        if failure is None and isinstance(error, torch.AcceleratorError):
            failure = failure_as(DeviceFault.BROKEN, str(error), WHEEL)
        if failure is None:
            raise
        raise failure from error


def free_memory() -> None:
    """Give back what nothing refers to any more; torch keeps it for itself otherwise."""
    gc.collect()
    if torch.cuda.is_initialized():
        with device_errors():
            torch.cuda.empty_cache()


def _prove(request: StageRequest, device: torch.device, dtype: torch.dtype) -> float:
    if torch.version.cuda is None:
        raise DeviceFailure(
            DeviceFault.UNSUITABLE,
            f"the cuda variant needs a torch wheel built for CUDA: {WHEEL}; use the cuda image, or the cpu variant",
        )
    seen = check_cuda_device(request)
    torch.cuda.init()
    architectures = torch.cuda.get_arch_list()
    if not serves(seen.capability, architectures):
        raise DeviceFailure(
            DeviceFault.UNSUITABLE,
            f"torch must have kernels for the GPU: {seen.name} is sm_{seen.capability[0]}{seen.capability[1]}, {WHEEL} "
            f"has {' '.join(architectures)}; use an image with another torch, or the cpu variant",
        )
    error = prove_numbers(device, dtype)
    log.info(
        "%s (sm_%d%d), driver for CUDA %d.%d: small sums in %s are within %.2g of the CPU's",
        *(seen.name, *seen.capability, *seen.cuda_version, request.compute_type, error),
    )
    return error
