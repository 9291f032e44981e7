"""Zero-shot tags: which of a list of labels fit a frame, after CLIP."""

import math
from collections.abc import Sequence

from stage_contract.outputs import Tag

MOST_TAGS = 5
LEAST_SCORE = 0.1


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
