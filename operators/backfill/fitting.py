"""Rates from timings: a line through them that a few odd ones do not move. Decides; does no I/O.

What is assumed to start with counts as well, as long as little was recorded: fewer than `FEWEST` samples scale it,
the more of them the further, and an error is only as narrow as `PRIOR_SAMPLES` more samples with its error would be.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from statistics import median, quantiles

from operators.backfill.estimate import Rate, Stretch, counted_s

FEWEST = 5
PRIOR_SAMPLES = 10
# Durations less than a factor of two apart tell little about what an hour would take.
NARROW = 2.0
LEAST_RATIO = 1e-3
LEAST_ITEM_S = 1e-3


@dataclass(frozen=True)
class Sample:
    """The work that a stage had with one asset."""

    duration_s: float
    work_s: float


def fit_rate(start: Rate, samples: Sequence[Sample], overheads_s: Sequence[float]) -> Rate:
    """The rate that these samples show. `overheads_s` is what each container cost besides its work."""
    fitted = _fit_work(start, samples)
    measured_s = median(overheads_s) if overheads_s else start.per_container_s
    factor = _ratio(measured_s, start.per_container_s) ** _share(len(overheads_s))
    return replace(fitted, per_container_s=start.per_container_s * factor, samples=len(samples))


def fit_stretch(ratios: Sequence[float]) -> Stretch:
    """The stretch that runs show which took so many times their work."""
    start = Stretch()
    if not ratios:
        return start
    middle = median(ratios)
    ninth = quantiles(ratios, n=10, method="inclusive")[-1] if len(ratios) > 1 else middle
    spread = _pooled(_ratio(ninth, middle), start.ninth / start.median, len(ratios))
    pooled = start.median * _ratio(middle, start.median) ** _share(len(ratios))
    return Stretch(pooled, pooled * max(1.0, spread), len(ratios))


def _fit_work(start: Rate, samples: Sequence[Sample]) -> Rate:
    points = sorted((counted_s(start.stage, sample.duration_s), sample.work_s) for sample in samples)
    if len(points) < FEWEST or points[-1][0] < NARROW * points[0][0]:
        rate = _scaled(start, samples)
    else:
        per_item_s, per_media_s = _line(points)
        rate = replace(start, per_item_s=max(per_item_s, LEAST_ITEM_S), per_media_s=per_media_s)
    ratios = [_ratio(sample.work_s, rate.item_s(sample.duration_s)) for sample in samples]
    if len(ratios) < FEWEST:
        return rate
    low, *_, high = quantiles(ratios, n=10, method="inclusive")
    low, high = _pooled(low, start.low, len(ratios)), _pooled(high, start.high, len(ratios))
    return replace(rate, low=min(1.0, low), high=max(1.0, high))


def _scaled(start: Rate, samples: Sequence[Sample]) -> Rate:
    """The rate to start with, faster or slower: work grows with length as it says."""
    if not samples:
        return start
    ratio = median(_ratio(sample.work_s, start.item_s(sample.duration_s)) for sample in samples)
    factor = ratio ** _share(len(samples))
    return replace(start, per_item_s=start.per_item_s * factor, per_media_s=start.per_media_s * factor)


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Intercept and slope, neither below 0, through points in order of x.

    Theil's incomplete method: each point of the lower half with one of the upper, and of their slopes the median,
    weighted by how far apart they are. An outlier moves one slope of many, where least squares would follow it.
    """
    half = len(points) // 2
    pairs = [(low, high) for low, high in zip(points, points[-half:], strict=False) if high[0] > low[0]]
    slope = _weighted_median([((high[1] - low[1]) / (high[0] - low[0]), high[0] - low[0]) for low, high in pairs])
    if slope <= 0:
        return median(work for _, work in points), 0.0
    intercept = median(work - slope * length for length, work in points)
    if intercept < 0:
        return 0.0, median(work / length for length, work in points if length > 0)
    return intercept, slope


def _weighted_median(weighted: Sequence[tuple[float, float]]) -> float:
    ordered = sorted(weighted)
    sums = list(accumulate(weight for _, weight in ordered))
    return next(value for (value, _), so_far in zip(ordered, sums, strict=True) if so_far >= sums[-1] / 2)


def _share(samples: int) -> float:
    return min(1.0, samples / FEWEST)


def _ratio(actual: float, expected: float) -> float:
    return max(actual / expected, LEAST_RATIO)


def _pooled(measured: float, start: float, samples: int) -> float:
    """The geometric mean of an error that was measured and the one to start with."""
    total = samples + PRIOR_SAMPLES
    return math.exp((samples * math.log(max(measured, LEAST_RATIO)) + PRIOR_SAMPLES * math.log(start)) / total)
