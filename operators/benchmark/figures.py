"""Medians, spreads and ratios of what was measured, and whether it is slower than it was. Decides; does no I/O."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

from operators.benchmark.agreement import percentile
from stage_contract.vocabulary import Phase, Stage

TOTAL = "total"
"""Stands for the time in which any phase went on in the container. Its start is left out: Docker's time, not the
variant's."""

TOTAL_NAME = "in all"
TOTAL_RULE = (
    f"{TOTAL_NAME.capitalize()}: the time in which any phase went on, without the container's start; where phases go "
    "on side by side it is less than their sum."
)

LEAST_ROUNDS = 3
"""With fewer there is no spread to speak of."""

LEAST_SLOWER = 0.05
LEAST_SHARE = 0.1


@dataclass(frozen=True)
class Timing:
    """One phase of one round, or its total. `round` 0 warmed up. `asset_id` is none for what all assets share."""

    variant: int
    round: int
    stage: Stage
    phase: str
    asset_id: str | None
    seconds: float
    peak_rss_mib: float | None = None
    peak_vram_mib: float | None = None


@dataclass(frozen=True)
class Figure:
    """Seconds of one phase for all assets of a round, over `n` rounds: median and quartiles."""

    variant: int
    stage: Stage
    phase: str
    n: int
    median_s: float
    q1_s: float
    q3_s: float

    @property
    def spread_s(self) -> float:
        """The interquartile range."""
        return self.q3_s - self.q1_s


@dataclass(frozen=True)
class Regression:
    """A figure that is slower than the baseline's."""

    variant: str
    stage: Stage
    phase: str
    before: Figure
    now: Figure

    def __str__(self) -> str:
        before, now = self.before, self.now
        return (
            f"{self.variant}, {self.stage}, {self.phase}: {now.median_s:.3g} s, was {before.median_s:.3g} s "
            f"({now.median_s / before.median_s - 1:+.0%}; spread {max(before.spread_s, now.spread_s):.2g} s)"
        )


def covered_s(spans: Iterable[tuple[datetime, float]]) -> float:
    """Seconds that spans cover together. Each begins at an instant and lasts some seconds; overlaps count once."""
    total_s, until = 0.0, datetime.min.replace(tzinfo=UTC)
    for begins_at, length_s in sorted(spans):
        ends_at = begins_at + timedelta(seconds=length_s)
        total_s += max(0.0, (ends_at - max(begins_at, until)).total_seconds())
        until = max(until, ends_at)
    return total_s


def summarize(timings: Iterable[Timing]) -> list[Figure]:
    """Figures by variant, stage and phase, in the order in which they first come; the total of a stage goes last."""
    seconds: dict[tuple[int, Stage], dict[str, dict[int, float]]] = defaultdict(dict)
    for one in timings:
        if one.round == 0:
            continue
        phases = seconds[one.variant, one.stage]
        phases.setdefault(one.phase, defaultdict(float))[one.round] += one.seconds
    order = sorted(seconds, key=lambda key: (list(Stage).index(key[1]), key[0]))
    return [
        _figure(variant, stage, phase, list(seconds[variant, stage][phase].values()))
        for variant, stage in order
        for phase in sorted(seconds[variant, stage], key=lambda phase: phase == TOTAL)
    ]


def find_regressions(
    names: Mapping[int, str], now: Sequence[Figure], before_names: Mapping[int, str], before: Sequence[Figure]
) -> list[Regression]:
    """What is slower than it was, by variants of the same name.

    A figure has regressed when its median exceeds the baseline's by more than the spread (the larger of the two
    interquartile ranges) and by 5 % or more. Looked at are the totals, and phases that make a tenth of one or more:
    smaller ones vary by more than that from one file system flush to the next. Figures of fewer than three rounds have
    no spread and are passed over.
    """
    known = {(before_names[one.variant], one.stage, one.phase): one for one in before}
    totals = {(one.variant, one.stage): one.median_s for one in now if one.phase == TOTAL}
    found = []
    for one in now:
        earlier = known.get((names[one.variant], one.stage, one.phase))
        if earlier is None or min(one.n, earlier.n) < LEAST_ROUNDS or one.phase == Phase.CONTAINER_START:
            continue
        is_large = one.median_s >= LEAST_SHARE * totals.get((one.variant, one.stage), 0.0)
        slower_s = one.median_s - earlier.median_s
        spread_s = max(one.spread_s, earlier.spread_s)
        if is_large and slower_s > spread_s and slower_s >= LEAST_SLOWER * earlier.median_s:
            found.append(Regression(names[one.variant], one.stage, one.phase, earlier, one))
    return found


def speed_up(reference: Figure | None, other: Figure | None) -> float | None:
    """How many times as fast the other is; none where there is nothing to compare."""
    if reference is None or other is None or other.median_s <= 0:
        return None
    return reference.median_s / other.median_s


def _figure(variant: int, stage: Stage, phase: str, values: Sequence[float]) -> Figure:
    quartiles = percentile(values, 0.25), percentile(values, 0.75)
    return Figure(variant, stage, phase, len(values), median(values), *quartiles)
