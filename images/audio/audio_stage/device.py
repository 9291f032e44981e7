"""The device that CTranslate2 computes on. The only place that knows what sets a GPU apart.

Not here yet: VRAM figures in the phases. CTranslate2 tells none; they will come from NVML.
"""

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import ctranslate2
import numpy as np

from stage_contract.errors import DeviceFailure
from stage_contract.vocabulary import Variant

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

# How CTranslate2 starts the errors of the device and of its libraries (cuda/utils.h, cuda/stubs).
_DEVICE_ERROR = re.compile(r"CUDA|cuBLAS|cuDNN|CUBLAS|CUDNN|out of memory|Library lib")


class Device(Protocol):
    """Where a model is loaded and run. `name` is CTranslate2's."""

    name: str
    compute_type: str

    def guard(self) -> contextlib.AbstractContextManager[None]:
        """Around everything that runs the model.

        Raises:
            DeviceFailure: in place of what the library raises when the device fails.
        """

    def prove(self, model: "WhisperModel") -> None:
        """Show that the loaded model computes here.

        Raises:
            DeviceFailure: it does not.
        """


class Cpu:
    """The CPU needs no proof: what fails on it is a fault of ours."""

    name = "cpu"

    def __init__(self, compute_type: str) -> None:
        self.compute_type = compute_type

    def guard(self) -> contextlib.AbstractContextManager[None]:
        """Let errors through as they are."""
        return contextlib.nullcontext()

    def prove(self, model: "WhisperModel") -> None:
        """Nothing to show."""


class CudaGpu:
    """The first GPU that the container was given."""

    name = "cuda"

    def __init__(self, compute_type: str) -> None:
        self.compute_type = compute_type
        with self.guard():
            count = ctranslate2.get_cuda_device_count()
        if count == 0:
            raise DeviceFailure(
                "the cuda variant needs a GPU: the container sees none; give it one (--gpus), check the driver "
                "with nvidia-smi on the host, or use the cpu variant"
            )

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Turn errors of CUDA, cuBLAS and cuDNN, out of memory among them, into `DeviceFailure`."""
        try:
            yield
        except RuntimeError as error:
            if not _DEVICE_ERROR.search(str(error)):
                raise
            raise DeviceFailure(
                f"the GPU must do the work it is given: {error}; free its memory, take a smaller compute type "
                "or the cpu variant"
            ) from error

    def prove(self, model: "WhisperModel") -> None:
        """Run the encoder once on noise: a wheel without kernels for this GPU loads, and fails only here."""
        noise = np.random.default_rng(0).normal(0.0, 0.1, model.feature_extractor.n_samples).astype(np.float32)
        features = model.feature_extractor(noise)[..., : model.feature_extractor.nb_max_frames]
        batch = np.ascontiguousarray(features[np.newaxis])
        with self.guard():
            encoded = model.model.encode(ctranslate2.StorageView.from_array(batch), to_cpu=True)
            values = np.array(encoded.to(ctranslate2.DataType.float32))
        if not np.isfinite(values).all() or float(values.std()) == 0.0:
            raise DeviceFailure(
                f"the GPU must compute finite numbers in {self.compute_type}: it does not; take another compute "
                "type, or the cpu variant"
            )


_DEVICES: dict[Variant, type[Cpu] | type[CudaGpu]] = {Variant.CPU: Cpu, Variant.CUDA: CudaGpu}


def open_device(variant: Variant, compute_type: str) -> Device:
    """The device of this variant, checked to compute in `compute_type`.

    Raises:
        DeviceFailure: there is no such device, or it does not have the compute type.
    """
    device = _DEVICES[variant](compute_type)
    with device.guard():
        supported = sorted(ctranslate2.get_supported_compute_types(device.name))
    if compute_type not in supported:
        raise DeviceFailure(
            f"the compute type must be one that the {device.name} has: {', '.join(supported)}; asked {compute_type!r}"
        )
    return device
