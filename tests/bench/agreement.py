"""How far two results of the same media agree. Decides only; both are read before."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from stage_contract.outputs import Box, Detection, Frame

SAME_OBJECT_IOU = 0.5


@dataclass(frozen=True)
class VisionAgreement:
    """`lowest_cosine` is of the frame whose CLIP vectors differ most, 1 when they are equal.

    `matched` is the share of all boxes, of both results, that have a partner of the same label with an intersection
    over union of 0.5 or more; `mean_iou` is that of the partners. Without any box both are 1.
    """

    frames: int
    lowest_cosine: float
    boxes: int
    matched: float
    mean_iou: float


def compare_frames(first: Sequence[Frame], second: Sequence[Frame]) -> VisionAgreement:
    """How far two analyses agree, frame by frame.

    Raises:
        ValueError: they are not of the same frames.
    """
    times = [frame.time_s for frame in first], [frame.time_s for frame in second]
    if times[0] != times[1]:
        raise ValueError(f"results must be of the same frames: {len(first)} and {len(second)}, or at other times")
    cosines = [cosine(a.embedding, b.embedding) for a, b in zip(first, second, strict=True)]
    overlaps = [
        overlap for a, b in zip(first, second, strict=True) for overlap in match_boxes(a.detections, b.detections)
    ]
    boxes = sum(len(frame.detections) for frame in (*first, *second))
    return VisionAgreement(
        frames=len(first),
        lowest_cosine=min(cosines, default=1.0),
        boxes=boxes,
        matched=2 * len(overlaps) / boxes if boxes else 1.0,
        mean_iou=fmean(overlaps) if overlaps else float(not boxes),
    )


def match_boxes(first: Sequence[Detection], second: Sequence[Detection]) -> list[float]:
    """The overlaps (IoU, 0.5..1) of boxes that show the same object. Best pairs first; each box has one partner."""
    pairs = sorted(
        (
            (overlap, i, j)
            for i, a in enumerate(first)
            for j, b in enumerate(second)
            if a.label == b.label and (overlap := intersection_over_union(a.box, b.box)) >= SAME_OBJECT_IOU
        ),
        reverse=True,
    )
    taken: tuple[set[int], set[int]] = set(), set()
    matched = []
    for overlap, i, j in pairs:
        if i not in taken[0] and j not in taken[1]:
            taken[0].add(i)
            taken[1].add(j)
            matched.append(overlap)
    return matched


def intersection_over_union(first: Box, second: Box) -> float:
    """0 for boxes apart, 1 for equal ones. A box without an area overlaps nothing."""
    width = min(first.x_px + first.width_px, second.x_px + second.width_px) - max(first.x_px, second.x_px)
    height = min(first.y_px + first.height_px, second.y_px + second.height_px) - max(first.y_px, second.y_px)
    common = max(0.0, width) * max(0.0, height)
    together = first.width_px * first.height_px + second.width_px * second.height_px - common
    return common / together if together > 0 else 0.0


def cosine(first: Sequence[float], second: Sequence[float]) -> float:
    """Of the angle between two vectors, -1..1.

    Raises:
        ValueError: they differ in length.
    """
    product = sum(a * b for a, b in zip(first, second, strict=True))
    return product / (math.hypot(*first) * math.hypot(*second))
