"""Writes the int8 weights that CTranslate2 would otherwise make at every load of a float16 model.

The rounding is CTranslate2's own: each row of a product's weights by the largest of its values. Convolutions, norms and
biases stay as they are, as they do when CTranslate2 quantizes while it loads.
"""

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from converters.errors import ConversionError

INT8_FOLDER = "int8"
WEIGHTS_FILE = "model.bin"
BINARY_VERSION = 6
LARGEST_INT8 = 127.0

# CTranslate2's numbers for types, include/ctranslate2/types.h. There is no bfloat16 in NumPy.
FLOAT32, INT8, FLOAT16 = 0, 1, 4
FLOATS: dict[int, type[np.floating]] = {FLOAT32: np.float32, FLOAT16: np.float16}


def write_int8_copy(model: Path) -> None:
    """Write `model/int8/`, a whole model with int8 weights, beside the model in CTranslate2's format in `model`.

    Raises:
        ConversionError: the weights are not in the format known here.
    """
    copy = model / INT8_FOLDER
    files = [file for file in model.iterdir() if file.is_file()]
    copy.mkdir()
    for file in files:
        if file.name != WEIGHTS_FILE:
            shutil.copyfile(file, copy / file.name)
    content = memoryview((model / WEIGHTS_FILE).read_bytes())
    with (copy / WEIGHTS_FILE).open("wb") as target:
        for piece in _quantized(_Reader(content)):
            target.write(piece)


class _Reader:
    """Takes the file apart from front to end."""

    def __init__(self, content: memoryview) -> None:
        self._content = content
        self._position = 0

    def take(self, count: int) -> memoryview:
        start, self._position = self._position, self._position + count
        return self._content[start : self._position]

    def rest(self) -> memoryview:
        return self._content[self._position :]

    def number(self, code: str) -> int:
        value: int = struct.unpack(code, self.take(struct.calcsize(code)))[0]
        return value

    def string(self) -> str:
        return bytes(self.take(self.number("H"))[:-1]).decode()


def _quantized(reader: _Reader) -> Iterator[bytes | memoryview]:
    version = reader.number("I")
    if version != BINARY_VERSION:
        raise ConversionError(
            f"the weights must be in version {BINARY_VERSION} of CTranslate2's format: found {version}; "
            "convert the model with the ctranslate2 of requirements.cpu.lock"
        )
    name, revision = reader.string(), reader.number("I")
    variables = [piece for _ in range(reader.number("I")) for piece in _quantize(reader)]
    yield struct.pack("I", version) + _string(name) + struct.pack("II", revision, len(variables))
    yield from variables
    yield reader.rest()


def _quantize(reader: _Reader) -> Iterator[bytes]:
    name = reader.string()
    shape = tuple(reader.number("I") for _ in range(reader.number("B")))
    kind, size = reader.number("B"), reader.number("I")
    content = reader.take(size)
    if not name.endswith("/weight") or len(shape) != 2 or kind not in FLOATS:
        yield _variable(name, shape, kind, bytes(content))
        return
    values = np.frombuffer(content, FLOATS[kind]).reshape(shape).astype(np.float32)
    rounded, scale = quantize_rows(values)
    yield _variable(name, shape, INT8, rounded.tobytes())
    yield _variable(f"{name}_scale", scale.shape, FLOAT32, scale.tobytes())


def quantize_rows(values: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Whole numbers in [-127, 127] for each row of a matrix, and the scale that each row was multiplied by."""
    largest = np.abs(values).max(axis=1)
    largest[largest == 0] = LARGEST_INT8
    scale = (np.float32(LARGEST_INT8) / largest).astype(np.float32)
    return np.rint(values * scale[:, None]).astype(np.int8), scale


def _variable(name: str, shape: tuple[int, ...], kind: int, content: bytes) -> bytes:
    sizes = struct.pack(f"=B{len(shape)}I", len(shape), *shape)
    return _string(name) + sizes + struct.pack("=BI", kind, len(content)) + content


def _string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("H", len(encoded) + 1) + encoded + b"\0"
