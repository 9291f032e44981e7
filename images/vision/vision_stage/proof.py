"""Shows that a device computes right numbers: a product, a convolution and an attention, there and on the CPU."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from stage_contract.errors import DeviceFailure
from stage_contract.vocabulary import DeviceFault

SEED = 0

PRODUCT = (384, 256, 512)
"""Rows, inner and columns. Of numbers -1, 0 and 1 the sums are 256 at most: exact in every compute type."""

CONVOLUTION = ((2, 16, 40, 40), (32, 16, 3, 3))
"""Batch and kernels of a 3x3 convolution, which is most of YOLOv8. cuDNN may take fractions of the numbers for it."""

ATTENTION = (2, 12, 50, 64)
"""Batch, heads, tokens and their width: those of CLIP ViT-B/32."""

TOLERANCES = {torch.float32: 0.01, torch.float16: 0.02, torch.bfloat16: 0.08}
"""Most that a vector may be off, as a share of its length, where numbers are not exact.

float32 leaves room for TF32, which rounds to 0.0005 as float16 does. bfloat16 rounds to 0.004; on the CPU the worst of
the three is off by 0.003 in it. A vector with one wrong number is off by 0.1 or more, numbers that are all wrong by 1.
"""

Numbers = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Exercise:
    """A small computation: its name, what it is done with, and how. `exact`: no rounding explains a difference."""

    name: str
    inputs: Numbers
    compute: Callable[..., torch.Tensor]
    exact: bool = False


def exercises() -> tuple[Exercise, ...]:
    """The same each time. Results have the vectors that are compared along their last axis."""
    random = torch.Generator().manual_seed(SEED)

    def steps(*shape: int) -> torch.Tensor:
        return torch.randint(-1, 2, shape, generator=random).float()

    rows, inner, columns = PRODUCT
    tokens = tuple(torch.randn(ATTENTION, generator=random) for _ in range(3))
    return (
        Exercise("product", (steps(rows, inner), steps(inner, columns)), torch.matmul, exact=True),
        Exercise("convolution", tuple(steps(*shape) for shape in CONVOLUTION), _convolve),
        Exercise("attention", tokens, functional.scaled_dot_product_attention),
    )


def prove_numbers(device: torch.device, dtype: torch.dtype) -> float:
    """Compare the device with the CPU. Returns how far the worst exercise is off, see `largest_error`.

    Raises:
        DeviceFailure: the numbers are wrong.
    """
    errors = []
    with torch.inference_mode():
        for exercise in exercises():
            # Rounded on the CPU already: both compute with the same numbers.
            given = tuple(tensor.to(dtype) for tensor in exercise.inputs)
            expected = exercise.compute(*(tensor.float() for tensor in given))
            found = exercise.compute(*(tensor.to(device) for tensor in given)).float().cpu()
            errors.append(largest_error(found, expected))
            check_error(exercise, errors[-1], dtype)
    return max(errors)


def check_error(exercise: Exercise, error: float, dtype: torch.dtype) -> None:
    """Refuse numbers that are further off than the compute type explains.

    Raises:
        DeviceFailure: they are.
    """
    tolerance = 0.0 if exercise.exact else TOLERANCES[dtype]
    # Written so that NaN is refused.
    if error <= tolerance:
        return
    raise DeviceFailure(
        DeviceFault.BROKEN,
        f"the device must compute right numbers: a small {exercise.name} in {dtype} is off by {error:.3g} of what the "
        f"CPU computes, at most {tolerance:g} is expected; take the device out of service",
    )


def largest_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """How far the worst of all vectors (the last axis) is off, as a share of the expected one's length."""
    if not found.isfinite().all():
        return float("inf")
    return float(((found - expected).norm(dim=-1) / expected.norm(dim=-1)).max())


def _convolve(pictures: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    return functional.conv2d(pictures, kernels, padding=1).movedim(1, -1)
