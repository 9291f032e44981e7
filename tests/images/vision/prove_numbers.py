"""Runs inside the reference image: how far small sums are off the CPU's numbers, as one line of JSON."""

import json

import torch

from stage_contract.errors import DeviceFailure
from vision_stage.proof import Exercise, check_error, exercises, largest_error, prove_numbers

CPU = torch.device("cpu")


def main() -> None:
    errors = {str(dtype): prove_numbers(CPU, dtype) for dtype in (torch.float32, torch.bfloat16)}
    told = {}
    for exercise in exercises():
        right = exercise.compute(*exercise.inputs)
        one_number, not_a_number = right.clone(), right.clone()
        one_number[..., 3, 5] += right.std()
        not_a_number[..., 0] = torch.nan
        told[exercise.name] = {
            "right": refusal(exercise, right, right),
            "shifted by one": refusal(exercise, right.roll(1, -1), right),
            "one number wrong": refusal(exercise, one_number, right),
            "not a number": refusal(exercise, not_a_number, right),
        }
    print(json.dumps({"errors": errors, "told": told}))


def refusal(exercise: Exercise, found: torch.Tensor, right: torch.Tensor) -> str:
    try:
        check_error(exercise, largest_error(found, right), torch.bfloat16)
    except DeviceFailure as failure:
        return f"{failure.fault}: {failure}"
    return ""


if __name__ == "__main__":
    main()
