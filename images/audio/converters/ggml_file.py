"""Read a Whisper model in the ggml format of whisper.cpp.

Layout (little endian), after `convert-pt-to-ggml.py` of https://github.com/ggml-org/whisper.cpp: magic,
eleven sizes, the mel filter bank, the byte-pair vocabulary in rank order, then the tensors.
"""

import io
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from converters.errors import ConversionError

MAGIC = 0x67676D6C
DTYPES = {0: np.dtype("<f4"), 1: np.dtype("<f2")}


@dataclass(frozen=True)
class Dimensions:
    """The sizes of the network, in the order of the file. `float_type` 0 is float32, 1 float16."""

    vocabulary: int
    audio_context: int
    audio_state: int
    audio_heads: int
    audio_layers: int
    text_context: int
    text_state: int
    text_heads: int
    text_layers: int
    mel_bands: int
    float_type: int


@dataclass(frozen=True)
class GgmlModel:
    """A whole model. `tokens` are byte strings in rank order, special tokens not among them.

    `tensors` have the shapes of PyTorch (output features first) and are float32 or float16.
    """

    dimensions: Dimensions
    tokens: tuple[bytes, ...]
    tensors: dict[str, npt.NDArray[np.floating]]


def read_ggml(path: Path) -> GgmlModel:
    """Read the file at `path`.

    Raises:
        ConversionError: it is no ggml Whisper model, is quantized, or ends too soon.
    """
    reader = _Reader(path)
    (magic,) = reader.unpack("I")
    if magic != MAGIC:
        raise ConversionError(
            f"a ggml model starts with {MAGIC:#x}: {path.name} starts with {magic:#x}; "
            "take a ggml-*.bin file of whisper.cpp (not GGUF)"
        )
    dimensions = Dimensions(*reader.unpack("11i"))
    bands, bins = reader.unpack("2i")
    reader.skip(bands * bins * DTYPES[0].itemsize)
    (count,) = reader.unpack("i")
    tokens = tuple(reader.take(*reader.unpack("I")) for _ in range(count))
    tensors: dict[str, npt.NDArray[np.floating]] = {}
    while not reader.at_end():
        name, tensor = _read_tensor(reader)
        tensors[name] = tensor
    return GgmlModel(dimensions, tuple(t for t in tokens if t != b"<|endoftext|>"), tensors)


class _Reader:
    """A file in memory, read from front to end."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._file = io.BytesIO(path.read_bytes())
        self._size_bytes = path.stat().st_size

    def take(self, size_bytes: int) -> bytes:
        data = self._file.read(size_bytes)
        if len(data) != size_bytes:
            raise ConversionError(
                f"{self.name} must be complete: it ends after {self._size_bytes} bytes, within a value; fetch it again"
            )
        return data

    def skip(self, size_bytes: int) -> None:
        self._file.seek(size_bytes, io.SEEK_CUR)

    def unpack(self, layout: str) -> tuple[int, ...]:
        layout = f"<{layout}"
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def at_end(self) -> bool:
        return self._file.tell() == self._size_bytes


def _read_tensor(reader: _Reader) -> tuple[str, npt.NDArray[np.floating]]:
    rank, name_bytes, float_type = reader.unpack("3i")
    shape = reader.unpack(f"{rank}i")[::-1]
    name = reader.take(name_bytes).decode()
    if float_type not in DTYPES:
        raise ConversionError(
            f"weights must be float32 or float16: {name} in {reader.name} has ggml type {float_type}, "
            "which is quantized; take the file without -q5_0 or -q8_0 in its name"
        )
    dtype = DTYPES[float_type]
    values = np.frombuffer(reader.take(dtype.itemsize * int(np.prod(shape))), dtype)
    return name, values.reshape(shape)
