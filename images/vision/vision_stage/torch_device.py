"""Networks on a GPU, through torch. The device is proven before a network is loaded on it."""

import contextlib
import gc
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from stage_contract.cuda_device import check_cuda_device
from stage_contract.cuda_errors import device_failure, failure_as
from stage_contract.errors import DeviceFailure
from stage_contract.phases import DeviceMeter
from stage_contract.request import StageRequest
from stage_contract.vocabulary import DeviceFault
from vision_stage.cuda_architectures import serves
from vision_stage.device import Network, check_compute_type
from vision_stage.proof import prove_numbers
from vision_stage.torch_networks import load_clip_images, load_yolo_maps

COMPUTE_TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
WHEEL = f"torch {torch.__version__}, built for {f'CUDA {torch.version.cuda}' if torch.version.cuda else 'the CPU only'}"
HALVES = 2

log = logging.getLogger("stage")


class TorchNetwork:
    """A network of `torch_networks` on a device.

    Pictures go to a GPU as bytes, out of memory that it reads by itself, and become numbers there. They go in two
    halves: the second is packed and copied while the network computes the first.
    """

    def __init__(self, network: torch.nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        self._device = device
        self._network = network.to(device, dtype, memory_format=torch.channels_last)
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._buffers = [torch.empty(0, dtype=torch.uint8) for _ in range(HALVES)]

    def compute(self, pictures: Iterable[np.ndarray]) -> tuple[np.ndarray, ...]:
        """The outputs, float32, each (pictures, ...), of RGB pictures of one size, uint8, (height, width, 3)."""
        pictures, found = list(pictures), []
        with torch.inference_mode():
            for half, numbers in enumerate(np.array_split(np.arange(len(pictures)), min(HALVES, len(pictures)))):
                batch = self._buffer(half, (len(numbers), *pictures[0].shape))
                np.stack([pictures[number] for number in numbers], out=batch.numpy())
                told = self._network(self._sent(batch))
                found.append(told if isinstance(told, tuple) else (told,))
            # Copying the outputs waits for the device, and so for the copies out of the buffers: they are free again.
            return tuple(torch.cat(parts).float().cpu().numpy() for parts in zip(*found, strict=True))

    def _buffer(self, half: int, shape: tuple[int, ...]) -> torch.Tensor:
        wanted = int(np.prod(shape))
        if len(self._buffers[half]) < wanted:
            self._buffers[half] = torch.empty(wanted, dtype=torch.uint8, pin_memory=self._copies is not None)
        return self._buffers[half][:wanted].view(shape)

    def _sent(self, batch: torch.Tensor) -> torch.Tensor:
        if self._copies is None:
            return batch.to(self._device)
        computing = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._copies):
            sent = batch.to(self._device, non_blocking=True)
        computing.wait_stream(self._copies)
        sent.record_stream(computing)
        return sent


@dataclass(frozen=True)
class TorchDevice:
    """A device of torch, and the type that it computes in.

    float16 rounds eight times finer than bfloat16: no close call is settled in float32 there.
    """

    torch_device: torch.device
    dtype: torch.dtype
    batch_size: int
    meter: DeviceMeter = field(default_factory=DeviceMeter)
    proof_error: float | None = None

    def load_clip(self, directory: Path) -> Network:
        """CLIP's image encoder: pictures of 224 x 224 px to vectors."""
        return TorchNetwork(load_clip_images(directory), self.torch_device, self.dtype)

    def load_detector(self, directory: Path) -> Network:
        """YOLOv8: letterboxed pictures to raw maps."""
        return TorchNetwork(load_yolo_maps(directory), self.torch_device, self.dtype)

    def load_exact_detector(self, directory: Path) -> Network | None:
        """YOLOv8 in float32, in bfloat16's place where a call is close."""
        if self.dtype is not torch.bfloat16:
            return None
        return TorchNetwork(load_yolo_maps(directory), self.torch_device, torch.float32)


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


def open_device(request: StageRequest, threads: int) -> TorchDevice:
    """The GPU of a request, proven to work. `threads` is for what is left to the CPU.

    Raises:
        ValueError: it has no such compute type.
        DeviceFailure: the device is absent, another one, short of memory, not served by this torch, or computes wrong
            numbers.
    """
    check_compute_type(request, tuple(COMPUTE_TYPES))
    torch.set_num_threads(threads)
    device, dtype = torch.device("cuda"), COMPUTE_TYPES[request.compute_type]
    with device_errors():
        proof_error = _prove(request, device, dtype)
    torch.backends.cudnn.deterministic = True
    return TorchDevice(device, dtype, request.batch_size, CudaMeter(), proof_error)


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
