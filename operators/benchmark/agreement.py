"""How far two results of the same media agree. Decides only; both are read before."""

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from stage_contract.outputs import Box, Detection, Entity, Frame, Segment

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


def word_error_rate(spoken: str, heard: str) -> float:
    """Words wrong, missing and added, divided by the words of `spoken`. Case and punctuation do not count.

    Where nothing is spoken: 0 when nothing was heard, else 1.
    """
    first, second = words(spoken), words(heard)
    if not first:
        return float(bool(second))
    return edits(first, second) / len(first)


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    kept = (letter for letter in text.lower() if not unicodedata.category(letter).startswith("P"))
    return "".join(kept).split()


def edits(first: Sequence[str], second: Sequence[str]) -> int:
    """The fewest replacements, deletions and insertions that turn one into the other.

    Takes steps by the square of the answer, not by the product of the lengths: texts are long and alike.
    https://doi.org/10.1016/S0019-9958(85)80046-2
    """
    target = len(second) - len(first)
    # Of each diagonal the furthest place in `first` that so many edits lead to; -2 is nowhere yet.
    furthest: dict[int, int] = {}
    count = 0
    while True:
        reached: dict[int, int] = {}
        for diagonal in range(-count, count + 1):
            place = max(
                furthest.get(diagonal, -2) + 1,
                furthest.get(diagonal - 1, -2),
                furthest.get(diagonal + 1, -2) + 1,
                0 if count == 0 else -1,
            )
            place = min(place, len(first), len(second) - diagonal)
            if place < 0 or place + diagonal < 0:
                continue
            while place < len(first) and place + diagonal < len(second) and first[place] == second[place + diagonal]:
                place += 1
            reached[diagonal] = place
        if reached.get(target) == len(first):
            return count
        furthest, count = reached, count + 1


def start_drift_s(first: Sequence[Segment], second: Sequence[Segment]) -> float | None:
    """The 95th percentile of how far a segment's start is from the nearest start on the other side, either way.

    None when one side alone has segments; 0 when neither has.
    """
    starts = [sorted(segment.start_s for segment in segments) for segments in (first, second)]
    if not starts[0] and not starts[1]:
        return 0.0
    if not starts[0] or not starts[1]:
        return None
    distances = [min(abs(start - other) for other in starts[1]) for start in starts[0]]
    distances += [min(abs(start - other) for other in starts[0]) for start in starts[1]]
    return percentile(distances, 0.95)


def percentile(values: Iterable[float], share: float) -> float:
    """The value that this share of all does not exceed, between neighbours in proportion.

    Raises:
        ValueError: there are no values.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("a percentile is of at least one value: there is none")
    place = (len(ordered) - 1) * share
    below = math.floor(place)
    above = math.ceil(place)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def entity_overlap(first: Iterable[Entity], second: Iterable[Entity]) -> float:
    """The share of all entities, of both results, that have a partner of the same text and label; 1 without any."""
    names = [Counter((entity.text.casefold(), entity.label) for entity in entities) for entities in (first, second)]
    every = names[0].total() + names[1].total()
    return 2 * (names[0] & names[1]).total() / every if every else 1.0


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
