"""Runs inside the audio image: encodes noise with a model's own weights in int8 and with its int8 copy."""

import sys
from pathlib import Path

import ctranslate2
import numpy as np


def main() -> None:
    model = Path(sys.argv[1])
    whole, copy = (encode(folder) for folder in (model, model / "int8"))
    print("equal" if np.array_equal(whole, copy) else f"off by {np.abs(whole - copy).max()}")


def encode(folder: Path) -> np.ndarray:
    whisper = ctranslate2.models.Whisper(str(folder), compute_type="int8", intra_threads=1)
    noise = np.random.default_rng(0).standard_normal((1, whisper.n_mels, 3000)).astype(np.float32)
    return np.array(whisper.encode(ctranslate2.StorageView.from_array(noise)))


if __name__ == "__main__":
    main()
