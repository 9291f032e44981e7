"""The one place where a variant becomes a library to compute with: OpenVINO on the CPU, torch on a GPU.

Nothing here falls back from one to the other.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from stage_contract.errors import DeviceFailure
from stage_contract.phases import DeviceMeter
from stage_contract.request import StageRequest
from stage_contract.vocabulary import DeviceFault, Variant

if TYPE_CHECKING:
    import numpy as np


class Network(Protocol):
    """A loaded network."""

    def compute(self, pictures: "Iterable[np.ndarray]") -> "tuple[np.ndarray, ...]":
        """The outputs, float32, each (pictures, ...), of RGB pictures of one size, uint8, (height, width, 3)."""
        ...


class ComputeDevice(Protocol):
    """Where networks run, in which type, and how many pictures at a time.

    `proof_error` is how far its numbers were off the CPU's, as a share; none where that was not asked.
    """

    @property
    def batch_size(self) -> int: ...

    @property
    def meter(self) -> DeviceMeter: ...

    @property
    def proof_error(self) -> float | None: ...

    def load_clip(self, directory: Path) -> Network:
        """CLIP's image encoder: pictures of 224 x 224 px to vectors."""
        ...

    def load_detector(self, directory: Path) -> Network:
        """YOLOv8: letterboxed pictures to raw maps, see `detection`."""
        ...

    def load_exact_detector(self, directory: Path) -> Network | None:
        """The same in float32, where the compute type is so coarse that close calls are settled with it."""
        ...


class Runtime(Protocol):
    """A library that computes."""

    def open_device(self, request: StageRequest, threads: int) -> ComputeDevice:
        """The device of a request, proven to work.

        Raises:
            ValueError: the variant has no such compute type.
            DeviceFailure: the device does not work or does not suffice.
        """
        ...

    def device_errors(self) -> AbstractContextManager[None]:
        """Turn what the library raises when its device fails into a `DeviceFailure`."""
        ...

    def free_memory(self) -> None:
        """Give back what nothing refers to any more."""
        ...


def import_runtime(variant: Variant) -> Runtime:
    """Import the library of a variant.

    Raises:
        DeviceFailure: the image has none for GPUs.
    """
    if variant is Variant.CPU:
        from vision_stage import openvino_device

        return openvino_device
    try:
        from vision_stage import torch_device
    except ModuleNotFoundError as error:
        raise DeviceFailure(
            DeviceFault.UNSUITABLE,
            f"the cuda variant needs torch, built for CUDA: this image has no {error.name}; use the cuda image, or the "
            "cpu variant",
        ) from error
    return torch_device


def check_compute_type(request: StageRequest, known: Sequence[str]) -> None:
    """Refuse what a variant lacks.

    Raises:
        ValueError: the request's compute type is not among `known`.
    """
    if request.compute_type not in known:
        raise ValueError(
            f"compute type on {request.variant} must be one of {', '.join(known)}: got {request.compute_type!r}"
        )
