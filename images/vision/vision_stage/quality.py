"""How a picture is exposed, how sharp it is, and its main colours."""

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from stage_contract.outputs import Color

COLORS = 5
COLOR_SIDE_PX = 64


@dataclass(frozen=True)
class Quality:
    """`brightness` is mean luma 0..255, `contrast` the standard deviation of luma, `sharpness` the variance
    of its Laplacian.
    """

    brightness: float
    contrast: float
    sharpness: float
    colors: tuple[Color, ...]


def measure_quality(picture: np.ndarray) -> Quality:
    """Quality of an RGB picture, uint8, (height, width, 3)."""
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return Quality(
        brightness=round(float(luma.mean()), 2),
        contrast=round(float(luma.std()), 2),
        sharpness=round(float(cv2.Laplacian(luma, cv2.CV_64F).var()), 2),
        colors=dominant_colors(picture),
    )


def dominant_colors(picture: np.ndarray) -> tuple[Color, ...]:
    """Up to five colours, the most common first: median cut on the picture scaled down to 64x64, then k-means."""
    small = cv2.resize(picture, (COLOR_SIDE_PX, COLOR_SIDE_PX), interpolation=cv2.INTER_AREA)
    quantized = Image.fromarray(small).quantize(COLORS, method=Image.Quantize.MEDIANCUT, kmeans=COLORS)
    palette = quantized.getpalette() or []
    shares: dict[str, float] = {}
    for count, index in quantized.getcolors() or []:
        red, green, blue = palette[3 * index : 3 * index + 3]
        name = f"#{red:02x}{green:02x}{blue:02x}"
        shares[name] = shares.get(name, 0.0) + count / COLOR_SIDE_PX**2
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
