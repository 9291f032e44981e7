"""Networks on the CPU, through OpenVINO. They come as the files that `converters/export_openvino.py` wrote."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import openvino as ov

from stage_contract.phases import DeviceMeter
from stage_contract.request import StageRequest
from vision_stage.device import Network, check_compute_type

COMPUTE_TYPES = ("float32", "bfloat16", "int8_bfloat16")
FLOAT32: Mapping[str, str] = {"INFERENCE_PRECISION_HINT": "f32"}
BFLOAT16: Mapping[str, str] = {"INFERENCE_PRECISION_HINT": "bf16"}
INT8_PRODUCTS: Mapping[str, str] = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": "64"}
"""The weights' other side is rounded to int8 as it comes, 64 numbers of a row with a scale of their own."""

SHARE = 2
"""Pictures that are computed at a time: the first share need not wait until all are prepared."""
REQUESTS = 2
"""One is computed, the next waits."""

CLIP_FILE = "clip.xml"
CLIP_INT8_FILE = "clip_int8.xml"
YOLO_FILE = "yolov8.xml"


class OpenVinoNetwork:
    """A network on the CPU's threads, all of which compute one share of pictures.

    A stream for each thread, which computes shares of its own, is as fast on an idle machine. Beside a thread that
    decodes it was a fifth slower, and takes memory of its own for what lies between the layers.
    """

    def __init__(self, core: ov.Core, file: Path, precision: Mapping[str, str], threads: int) -> None:
        options = {**precision, "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": str(threads)}
        compiled = core.compile_model(core.read_model(file), "CPU", options)
        self._queue = ov.AsyncInferQueue(compiled, REQUESTS)
        self._found = found = dict[int, tuple[np.ndarray, ...]]()
        outputs = range(len(compiled.outputs))

        # No method: the queue would refer to the network, which refers to it, and neither would ever be freed.
        def keep(request: ov.InferRequest, number: int) -> None:
            found[number] = tuple(request.get_output_tensor(output).data.copy() for output in outputs)

        self._queue.set_callback(keep)

    def compute(self, pictures: Iterable[np.ndarray]) -> tuple[np.ndarray, ...]:
        """The outputs, float32, each (pictures, ...), of RGB pictures of one size, uint8, (height, width, 3).

        Pictures are taken while those before are computed.
        """
        parts = self.compute_each(np.stack(share) for share in _shares(pictures))
        return tuple(np.concatenate(outputs) for outputs in zip(*parts, strict=True))

    def compute_each(self, batches: Iterable[np.ndarray]) -> list[tuple[np.ndarray, ...]]:
        """The outputs of each of some batches, which may differ in size."""
        given = []
        for number, batch in enumerate(batches):
            # Kept until all are done: the requests read it where it lies.
            given.append(batch)
            self._queue.start_async({0: batch}, number, share_inputs=True)
        self._queue.wait_all()
        return [self._found.pop(number) for number in range(len(given))]


def _shares(pictures: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
    waiting = iter(pictures)
    while share := list(islice(waiting, SHARE)):
        yield share


@dataclass(frozen=True)
class CpuDevice:
    """The CPU, and the type that it computes in."""

    compute_type: str
    batch_size: int
    threads: int
    core: ov.Core
    meter: DeviceMeter = field(default_factory=DeviceMeter)
    proof_error: None = None

    def load_clip(self, directory: Path) -> Network:
        """CLIP's image encoder: pictures of 224 x 224 px to vectors."""
        if self.compute_type == "int8_bfloat16":
            return self._load(directory / CLIP_INT8_FILE, {**self._precision(), **INT8_PRODUCTS})
        return self._load(directory / CLIP_FILE, self._precision())

    def load_detector(self, directory: Path) -> Network:
        """YOLOv8: letterboxed pictures to raw maps."""
        return self._load(directory / YOLO_FILE, self._precision())

    def load_exact_detector(self, directory: Path) -> Network | None:
        """The same in float32, unless it is that already."""
        return None if self._precision() is FLOAT32 else self._load(directory / YOLO_FILE, FLOAT32)

    def _precision(self) -> Mapping[str, str]:
        has_bfloat16 = "BF16" in self.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return BFLOAT16 if self.compute_type != "float32" and has_bfloat16 else FLOAT32

    def _load(self, file: Path, precision: Mapping[str, str]) -> OpenVinoNetwork:
        return OpenVinoNetwork(self.core, file, precision, self.threads)


def open_device(request: StageRequest, threads: int) -> CpuDevice:
    """The CPU. Nothing is proven of it.

    Raises:
        ValueError: it has no such compute type.
    """
    check_compute_type(request, COMPUTE_TYPES)
    return CpuDevice(request.compute_type, request.batch_size, threads, ov.Core())


def device_errors() -> contextlib.AbstractContextManager[None]:
    """The CPU's errors are what they are."""
    return contextlib.nullcontext()


def free_memory() -> None:
    """OpenVINO gives back what nothing refers to."""
