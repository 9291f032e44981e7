"""Runs in the vision image: `python compare_quality.py CLIPS`, one line of JSON.

How far the measures of frames are off those that are taken the slow way: at full size, in double precision, colours
from the picture itself.
"""

import json
import sys
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import Colorspace, Interpolation
from PIL import Image

from stage_contract.outputs import Color, ProbeOutput
from vision_stage.pictures import FrameConverter
from vision_stage.quality import COLORS, measure_quality

EVERY_FRAMES = 20
CLIPS = ("scenes.mp4", "moving.mp4", "moving.mkv", "moving.avi")


def slowly_measured(frame: av.VideoFrame) -> tuple[np.ndarray, tuple[float, float, float]]:
    """The picture by area averaging, and its brightness, contrast and sharpness in double precision."""
    picture = frame.to_ndarray(format="rgb24", interpolation=Interpolation.AREA, src_colorspace=Colorspace.DEFAULT)
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return picture, (luma.mean(), luma.std(), cv2.Laplacian(luma, cv2.CV_64F).var())


def colors_of(picture: np.ndarray) -> list[Color]:
    """Five colours of the picture at 64x64, k-means to the end."""
    small = Image.fromarray(cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA))
    quantized = small.quantize(COLORS, method=Image.Quantize.MEDIANCUT, kmeans=1)
    palette = quantized.getpalette()
    found = quantized.getcolors()
    hexes = {index: "#" + bytes(palette[3 * index : 3 * index + 3]).hex() for _, index in found}
    return [Color(hex=hexes[index], share=count / 64**2) for count, index in found]


def color_distance(some: list[Color], others: list[Color]) -> float:
    """How far each colour is from the nearest of the others, of 255, weighted by shares."""

    def rgb(color: Color) -> np.ndarray:
        return np.frombuffer(bytes.fromhex(color.hex[1:]), np.uint8).astype(float)

    return sum(c.share * min(float(np.abs(rgb(c) - rgb(o)).max()) for o in others) for c in some)


def main(folder: Path) -> None:
    off: dict[str, list[float]] = {name: [] for name in ("brightness", "contrast", "sharpness", "colors", "halved")}
    for name in CLIPS:
        probe = ProbeOutput.model_validate_json((folder / f"{name}.probe.json").read_text())
        converter = FrameConverter(probe.video[0])
        with av.open(str(folder / name)) as container:
            for frame in islice(container.decode(video=0), 0, None, EVERY_FRAMES):
                picture, right = slowly_measured(frame)
                found = measure_quality(converter.picture(frame), converter.signature(frame))
                numbers = (found.brightness, found.contrast, found.sharpness)
                for measure, number, expected in zip(off, numbers, right, strict=False):
                    off[measure].append(abs(number / expected - 1))
                off["colors"].append(color_distance(list(found.colors), colors_of(picture)))
                halved = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
                sharpness = measure_quality(halved, converter.signature(frame)).sharpness
                off["halved"].append(abs(sharpness / right[2] - 1))
    print(json.dumps({measure: max(numbers) for measure, numbers in off.items()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
