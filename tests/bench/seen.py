"""How far two analyses of the same frames agree. Decides; does no I/O."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from operators.benchmark.agreement import compare_frames
from stage_contract.outputs import Frame

MEASURES = ("brightness", "contrast", "sharpness")
LEAST_MEASURE = 1.0
"""A difference is a share of the measure, or of this where the measure is less: a black picture has a contrast of 0."""


@dataclass(frozen=True)
class Sight:
    """`detections_f1` counts boxes of the same label with an IoU of 0.5 or more, `text_f1` lines of the same text in
    the same frame; both are 1 where neither side has any. `quality_off` is the largest difference of a measure, as a
    share.
    """

    frames: int
    boxes: int
    detections_f1: float
    lowest_cosine: float
    quality_off: float
    lines: int
    text_f1: float

    def __str__(self) -> str:
        text = f", F1 of lines {self.text_f1:.4f}" if self.lines else ""
        return (
            f"F1 of detections {self.detections_f1:.4f}, cosine at least {self.lowest_cosine:.4f}, "
            f"quality within {self.quality_off:.2%}{text}"
        )


def agreement(reference: Sequence[Frame], ours: Sequence[Frame]) -> Sight:
    """Compare two analyses frame by frame.

    Raises:
        ValueError: they are not of the same frames.
    """
    told = compare_frames(reference, ours)
    pairs = list(zip(reference, ours, strict=True))
    first, second = ([Counter(line.text for line in frame.text) for frame in side] for side in (reference, ours))
    lines = sum(side.total() for side in first)
    every = lines + sum(side.total() for side in second)
    common = sum((one & other).total() for one, other in zip(first, second, strict=True))
    return Sight(
        frames=told.frames,
        boxes=sum(len(frame.detections) for frame in reference),
        detections_f1=told.matched,
        lowest_cosine=told.lowest_cosine,
        quality_off=max((_off(a, b, measure) for a, b in pairs for measure in MEASURES), default=0.0),
        lines=lines,
        text_f1=2 * common / every if every else 1.0,
    )


def _off(reference: Frame, ours: Frame, measure: str) -> float:
    expected, found = float(getattr(reference, measure)), float(getattr(ours, measure))
    return abs(found - expected) / max(abs(expected), LEAST_MEASURE)
