"""Zero-shot tags: which of a list of labels fit a frame, after CLIP."""

import math
from collections.abc import Sequence
from pathlib import Path

from stage_contract.outputs import Tag

LABELS_FILE = Path(__file__).with_name("tags.txt")
MOST_TAGS = 5
LEAST_SCORE = 0.1


def read_labels(path: Path = LABELS_FILE) -> tuple[str, ...]:
    """The labels, one a line; empty lines and lines that start with `#` are left out."""
    lines = (line.strip() for line in path.read_text().splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def prompt(label: str) -> str:
    """What the text encoder is asked for a label."""
    return f"a photo of {label}"


def best_tags(similarities: Sequence[float], labels: Sequence[str], logit_scale: float) -> tuple[Tag, ...]:
    """The best labels of one frame, best first: at most five, each with a score of at least 0.1.

    `similarities` are cosines between the frame and each label; `logit_scale` is the factor that CLIP
    learnt (100 at most). Scores are the softmax over all labels.
    """
    if not labels:
        return ()
    highest = max(similarities)
    weights = [math.exp(logit_scale * (similarity - highest)) for similarity in similarities]
    total = math.fsum(weights)
    scored = sorted(zip(labels, weights, strict=True), key=lambda pair: (-pair[1], pair[0]))
    tags = (Tag(label=label, score=round(weight / total, 4)) for label, weight in scored[:MOST_TAGS])
    return tuple(tag for tag in tags if tag.score >= LEAST_SCORE)
