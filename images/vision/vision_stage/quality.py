"""How a picture is exposed, how sharp it is, and its main colours."""

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from stage_contract.outputs import Color

COLORS = 5
SETTLED_SHARE = 0.02
"""k-means ends when no more than this share of the pixels changes its colour."""


@dataclass(frozen=True)
class Quality:
    """`brightness` is mean luma 0..255, `contrast` the standard deviation of luma, `sharpness` the variance
    of its Laplacian.
    """

    brightness: float
    contrast: float
    sharpness: float
    colors: tuple[Color, ...]


def measure_quality(picture: np.ndarray, signature: np.ndarray) -> Quality:
    """Quality of an RGB picture, uint8, (height, width, 3), its colours from its signature."""
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    brightness, contrast = (float(number[0][0]) for number in cv2.meanStdDev(luma))
    # The Laplacian of bytes is at most 1020: 16 bits hold it exactly, in a quarter of the memory of doubles.
    edges = cv2.Laplacian(luma, cv2.CV_16S)
    sharpness = cv2.norm(edges, cv2.NORM_L2SQR) / edges.size - cv2.mean(edges)[0] ** 2
    return Quality(
        brightness=round(brightness, 2),
        contrast=round(contrast, 2),
        sharpness=round(sharpness, 2),
        colors=dominant_colors(signature),
    )


def dominant_colors(signature: np.ndarray) -> tuple[Color, ...]:
    """Up to five colours, the most common first: median cut, then k-means."""
    pixels = signature.shape[0] * signature.shape[1]
    settled = max(1, round(SETTLED_SHARE * pixels))
    quantized = Image.fromarray(signature).quantize(COLORS, method=Image.Quantize.MEDIANCUT, kmeans=settled)
    palette = quantized.getpalette() or []
    shares: dict[str, float] = {}
    for count, index in quantized.getcolors() or []:
        red, green, blue = palette[3 * index : 3 * index + 3]
        name = f"#{red:02x}{green:02x}{blue:02x}"
        shares[name] = shares.get(name, 0.0) + count / pixels
    ordered = sorted(shares.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(Color(hex=name, share=round(share, 4)) for name, share in ordered)


def signature_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference, 0..255, in hue, saturation and value between two RGB signatures of the same size.

    Hue runs round in 180 steps, so its difference is at most 90.
    """
    first = cv2.cvtColor(one, cv2.COLOR_RGB2HSV).astype(np.int16)
    second = cv2.cvtColor(other, cv2.COLOR_RGB2HSV).astype(np.int16)
    difference = np.abs(first - second)
    difference[..., 0] = np.minimum(difference[..., 0], 180 - difference[..., 0])
    return float(difference.mean())
