"""Runs inside the audio image: how far small encoders are off the CPU's numbers, as one line of JSON."""

import json
import tempfile
from pathlib import Path

import numpy as np

from audio_stage.proof import check_error, encode, largest_error, make_model, prove_numbers
from stage_contract.errors import DeviceFailure


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        model, other = Path(directory) / "model", Path(directory) / "other"
        for folder, seed in ((model, 1), (other, 2)):
            folder.mkdir()
            make_model(folder, seed)
        right = encode(model, "cpu", "float32")
        one_vector, one_number, not_a_number = right.copy(), right.copy(), right.copy()
        one_vector[1, 7] = 0.0
        one_number[0, 3, 5] += 1.5
        not_a_number[0, 0, 0] = np.nan
        corrupted = {
            "another model": encode(other, "cpu", "float32"),
            "shifted by one": np.roll(right, 1, axis=1),
            "all zeros": right * 0,
            "one vector lost": one_vector,
            "one number wrong": one_number,
            "not a number": not_a_number,
        }
        told = {name: refusal(largest_error(found, right)) for name, found in corrupted.items()}
    print(json.dumps({"int8": prove_numbers("cpu", "int8"), "float32": prove_numbers("cpu", "float32"), "told": told}))


def refusal(error: float) -> str:
    try:
        check_error(error, "int8_float16")
    except DeviceFailure as failure:
        return f"{failure.fault}: {failure}"
    return ""


if __name__ == "__main__":
    main()
