"""Runs inside the audio image, for its NumPy: writes a tiny Whisper model in ggml's format, random weights.

`python make_ggml.py TARGET [--vocabulary N] [--tensor-type T] [--cut BYTES] [--without TENSOR]`. T is ggml's number of
a type: 1 is float16, 8 is quantized. The vocabulary is made up: all bytes, then pairs of bytes.
"""

import argparse
import struct
from pathlib import Path

import numpy as np

MAGIC = 0x67676D6C
STATE, HEADS, LAYERS, AUDIO_CONTEXT, TEXT_CONTEXT, BANDS = 64, 1, 2, 1500, 448, 80
MULTILINGUAL_TOKENS, ENGLISH_TOKENS = 50_257, 50_256


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("target", type=Path)
    parser.add_argument("--vocabulary", type=int, default=51_865)
    parser.add_argument("--tensor-type", type=int, default=1)
    parser.add_argument("--cut", type=int, default=0)
    parser.add_argument("--without", default="")
    arguments = parser.parse_args()
    data = model(arguments.vocabulary, arguments.tensor_type, arguments.without)
    arguments.target.write_bytes(data[: len(data) - arguments.cut])


def model(vocabulary: int, tensor_type: int, without: str) -> bytes:
    sizes = (vocabulary, AUDIO_CONTEXT, STATE, HEADS, LAYERS, TEXT_CONTEXT, STATE, HEADS, LAYERS, BANDS, 1)
    parts = [struct.pack("<I11i2i", MAGIC, *sizes, BANDS, 201), bytes(4 * BANDS * 201)]
    count = MULTILINGUAL_TOKENS if vocabulary >= 51_865 else ENGLISH_TOKENS
    tokens = [bytes([b]) for b in range(256)] + [bytes(divmod(i, 256)) for i in range(count - 256)]
    if count == MULTILINGUAL_TOKENS:
        tokens[-1] = b""  # as in all of OpenAI's multilingual models
    parts += [struct.pack("<i", count), *(struct.pack("<I", len(token)) + token for token in tokens)]
    random = np.random.default_rng(0)
    for name, shape in shapes(vocabulary).items():
        if name == without:
            continue
        values = random.normal(0.0, 0.02, shape).astype(np.float16)
        header = struct.pack("<3i", len(shape), len(name), tensor_type) + struct.pack(f"<{len(shape)}i", *shape[::-1])
        parts += [header, name.encode(), values.tobytes()]
    return b"".join(parts)


def shapes(vocabulary: int) -> dict[str, tuple[int, ...]]:
    all_shapes: dict[str, tuple[int, ...]] = {
        "encoder.positional_embedding": (AUDIO_CONTEXT, STATE),
        "decoder.positional_embedding": (TEXT_CONTEXT, STATE),
        "decoder.token_embedding.weight": (vocabulary, STATE),
        "encoder.conv1.weight": (STATE, BANDS, 3),
        "encoder.conv1.bias": (STATE, 1),
        "encoder.conv2.weight": (STATE, STATE, 3),
        "encoder.conv2.bias": (STATE, 1),
    }
    norms = ["encoder.ln_post", "decoder.ln"]
    for side in ("encoder", "decoder"):
        for layer in range(LAYERS):
            block = f"{side}.blocks.{layer}"
            attentions = ["attn", "cross_attn"] if side == "decoder" else ["attn"]
            for attention in attentions:
                norms.append(f"{block}.{attention}_ln")
                for part in ("query", "key", "value", "out"):
                    all_shapes[f"{block}.{attention}.{part}.weight"] = (STATE, STATE)
                    if part != "key":
                        all_shapes[f"{block}.{attention}.{part}.bias"] = (STATE,)
            norms.append(f"{block}.mlp_ln")
            all_shapes |= {f"{block}.mlp.0.weight": (4 * STATE, STATE), f"{block}.mlp.0.bias": (4 * STATE,)}
            all_shapes |= {f"{block}.mlp.2.weight": (STATE, 4 * STATE), f"{block}.mlp.2.bias": (STATE,)}
    for norm in norms:
        all_shapes |= {f"{norm}.weight": (STATE,), f"{norm}.bias": (STATE,)}
    return all_shapes


if __name__ == "__main__":
    main()
