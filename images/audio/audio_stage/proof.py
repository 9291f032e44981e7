"""Shows that a device computes right numbers: a small Whisper encoder, there and on the CPU.

The encoder is made here, of random weights, in a few milliseconds. It takes the way of the real one: convolutions,
attention, layer norms and products, the latter in the compute type of the job.
"""

import tempfile
from pathlib import Path
from typing import TypeAlias

import ctranslate2
import numpy as np
import numpy.typing as npt
from ctranslate2.specs import LayerSpec, WhisperSpec

from stage_contract.errors import DeviceFailure
from stage_contract.vocabulary import DeviceFault

SEED = 20_260_101
REFERENCE_TYPE = "float32"
WIDTH, MELS, FRAMES, HEADS, BATCH = 128, 80, 128, 2, 2
VOCABULARY = 64

TOLERANCES = {
    "float32": 0.01,
    "float16": 0.02,
    "bfloat16": 0.08,
    "int8": 0.08,
    "int8_float32": 0.08,
    "int8_float16": 0.08,
    "int8_bfloat16": 0.12,
}
"""Most that a vector of the encoder's output may be off, as a share of its length.

On the CPU int8 is off by 0.017 to 0.026 (models of 200 seeds): the tolerance is three times that. float16 rounds to
0.0005 and bfloat16 to 0.004; ten such roundings in a row stay below half of theirs. Numbers that are all wrong are off
by 1 and more.
"""

Vectors: TypeAlias = npt.NDArray[np.float32]


def prove_numbers(device: str, compute_type: str) -> float:
    """Compare the device with the CPU. Returns how far it is off, see `largest_error`.

    Raises:
        DeviceFailure: the numbers are wrong.
        RuntimeError: what CTranslate2 raises when the device does not compute at all.
    """
    with tempfile.TemporaryDirectory() as directory:
        make_model(Path(directory))
        expected = encode(Path(directory), "cpu", REFERENCE_TYPE)
        found = encode(Path(directory), device, compute_type)
    error = largest_error(found, expected)
    check_error(error, compute_type)
    return error


def check_error(error: float, compute_type: str) -> None:
    """Refuse numbers that are further off than the compute type explains.

    Raises:
        DeviceFailure: they are.
    """
    tolerance = TOLERANCES[compute_type]
    # Written so that NaN is refused.
    if error <= tolerance:
        return
    raise DeviceFailure(
        DeviceFault.BROKEN,
        f"the device must compute right numbers: a small encoder in {compute_type} is off by {error:.3g} of what the "
        f"CPU computes, at most {tolerance:g} is expected; take the device out of service",
    )


def largest_error(found: Vectors, expected: Vectors) -> float:
    """How far the worst of all vectors (the last axis) is off, as a share of the expected one's length."""
    if not np.isfinite(found).all():
        return float("inf")
    return float((np.linalg.norm(found - expected, axis=-1) / np.linalg.norm(expected, axis=-1)).max())


def encode(model: Path, device: str, compute_type: str) -> Vectors:
    """What the model in `model` makes of the same noise each time, float32, (batch, time, width)."""
    noise = np.random.default_rng(SEED).standard_normal((BATCH, MELS, FRAMES)).astype(np.float32)
    whisper = ctranslate2.models.Whisper(str(model), device=device, compute_type=compute_type, intra_threads=1)
    encoded = whisper.encode(ctranslate2.StorageView.from_array(noise), to_cpu=True)
    vectors: Vectors = np.array(encoded.to(ctranslate2.DataType.float32))
    # Frees what it took of the device at once: the model that is loaded next needs all there is.
    whisper.unload_model()
    return vectors


def make_model(directory: Path, seed: int = SEED) -> None:
    """Write a Whisper model with one layer each and random weights."""
    weights = _Weights(seed)
    spec = WhisperSpec(1, HEADS, 1, HEADS)
    encoder, decoder = spec.encoder, spec.decoder
    weights.convolution(encoder.conv1, MELS)
    weights.convolution(encoder.conv2, WIDTH)
    encoder.position_encodings.encodings = weights.normal(FRAMES // 2, WIDTH)
    decoder.embeddings.weight = weights.normal(VOCABULARY, WIDTH)
    decoder.position_encodings.encodings = weights.normal(FRAMES, WIDTH)
    decoder.projection.weight = decoder.embeddings.weight
    for part in (encoder, decoder):
        weights.norm(part.layer_norm)
        weights.attention(part.layer[0].self_attention)
        weights.feed_forward(part.layer[0].ffn)
    weights.cross_attention(decoder.layer[0].attention)
    spec.register_vocabulary([f"<{number}>" for number in range(VOCABULARY)])
    spec.validate()
    spec.save(str(directory))


class _Weights:
    """Fills layers with random weights that keep numbers near one."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def normal(self, *shape: int, scale: float = 0.1) -> npt.NDArray[np.float32]:
        return (self._random.standard_normal(shape) * scale).astype(np.float32)

    def linear(self, layer: LayerSpec, outputs: int, inputs: int) -> None:
        layer.weight = self.normal(outputs, inputs, scale=inputs**-0.5)
        layer.bias = self.normal(outputs)

    def convolution(self, layer: LayerSpec, channels: int) -> None:
        layer.weight = self.normal(WIDTH, channels, 3, scale=(3 * channels) ** -0.5)
        layer.bias = self.normal(WIDTH)

    def norm(self, layer: LayerSpec) -> None:
        layer.gamma, layer.beta = 1 + self.normal(WIDTH), self.normal(WIDTH)

    def attention(self, layer: LayerSpec) -> None:
        self.norm(layer.layer_norm)
        self.linear(layer.linear[0], 3 * WIDTH, WIDTH)
        self.linear(layer.linear[1], WIDTH, WIDTH)

    def cross_attention(self, layer: LayerSpec) -> None:
        self.norm(layer.layer_norm)
        self.linear(layer.linear[0], WIDTH, WIDTH)
        self.linear(layer.linear[1], 2 * WIDTH, WIDTH)
        self.linear(layer.linear[2], WIDTH, WIDTH)

    def feed_forward(self, layer: LayerSpec) -> None:
        self.norm(layer.layer_norm)
        self.linear(layer.linear_0, 4 * WIDTH, WIDTH)
        self.linear(layer.linear_1, WIDTH, 4 * WIDTH)
