"""The one place where a variant becomes a torch device.

A cuda device is proven before a model is loaded on it. Nothing here falls back to the CPU.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from stage_contract.errors import DeviceFailure
from stage_contract.phases import DeviceMeter
from stage_contract.vocabulary import Variant
from vision_stage.cuda_architectures import serves

COMPUTE_TYPES: dict[Variant, dict[str, torch.dtype]] = {
    Variant.CPU: {"float32": torch.float32, "bfloat16": torch.bfloat16},
    Variant.CUDA: {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16},
}
BATCH_SIZE = {Variant.CPU: 8, Variant.CUDA: 16}

NEEDED_VRAM_MIB = 2048
"""What CLIP ViT-B/32 and YOLOv8n take with a batch of 16, float32, reckoned from their sizes."""

CUDA_WORDS = ("CUDA", "cuDNN", "CUBLAS", "CUDNN", "NVRTC")
PROOF_SIDE = 64


@dataclass(frozen=True)
class ComputeDevice:
    """Where models run, in which type, and how many pictures at a time."""

    torch_device: torch.device
    dtype: torch.dtype
    batch_size: int
    meter: DeviceMeter


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


def open_device(variant: Variant, compute_type: str) -> ComputeDevice:
    """The device of a variant, proven to work.

    Raises:
        ValueError: the variant has no such compute type.
        DeviceFailure: the device is absent, not served by this torch, computes wrong numbers, or is short of memory.
    """
    known = COMPUTE_TYPES[variant]
    if compute_type not in known:
        raise ValueError(f"compute type on {variant} must be one of {', '.join(known)}: got {compute_type!r}")
    dtype = known[compute_type]
    if variant is Variant.CPU:
        return ComputeDevice(torch.device("cpu"), dtype, BATCH_SIZE[variant], DeviceMeter())
    with device_errors():
        _prove_cuda(dtype)
    torch.backends.cudnn.deterministic = True
    return ComputeDevice(torch.device("cuda"), dtype, BATCH_SIZE[variant], CudaMeter())


@contextlib.contextmanager
def device_errors() -> Iterator[None]:
    """Turn what torch raises when a GPU fails or is out of memory into a `DeviceFailure`."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceFailure(f"the device must have free memory for the batch: {error}") from error
    except RuntimeError as error:
        if isinstance(error, torch.AcceleratorError) or any(word in str(error) for word in CUDA_WORDS):
            raise DeviceFailure(f"the device failed: {error}") from error
        raise


def _prove_cuda(dtype: torch.dtype) -> None:
    built = f"torch {torch.__version__} (built for CUDA {torch.version.cuda or 'none, CPU only'})"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        raise DeviceFailure(
            f"the cuda variant needs a torch wheel built for CUDA and a driver that serves it: {built}, and CUDA "
            f"said: {error}; use the cuda image, a newer driver, or the cpu variant"
        ) from error
    name, capability = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
    architectures = torch.cuda.get_arch_list()
    if not serves(capability, architectures):
        raise DeviceFailure(
            f"torch must have kernels for the GPU: {name} is sm_{capability[0]}{capability[1]}, {built} has "
            f"{' '.join(architectures)}; use an image with another torch, or the cpu variant"
        )
    _prove_product(name, dtype)
    free_mib = torch.cuda.mem_get_info()[0] // 2**20
    if free_mib < NEEDED_VRAM_MIB:
        raise DeviceFailure(
            f"vision.analyze needs {NEEDED_VRAM_MIB} MiB of free VRAM: {name} has {free_mib}; "
            "wait until other work has ended, or use the cpu variant"
        )


def _prove_product(name: str, dtype: torch.dtype) -> None:
    # Zeros and ones: their sums, 64 at most, are exact in every compute type.
    ones = (torch.arange(PROOF_SIDE**2) % 3 == 0).reshape(PROOF_SIDE, PROOF_SIDE)
    expected = ones.float() @ ones.float()
    found = (ones.to("cuda", dtype) @ ones.to("cuda", dtype)).float().cpu()
    if not torch.equal(found, expected):
        raise DeviceFailure(
            f"the GPU must compute right numbers: a {PROOF_SIDE}x{PROOF_SIDE} product in {dtype} on {name} is wrong "
            f"by up to {float((found - expected).abs().max())}; take the GPU out of service"
        )
