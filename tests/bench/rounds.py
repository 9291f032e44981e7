"""Sides of a comparison in turns, and what their times come to. Decides; does no I/O."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Finding:
    """A line of the summary: two sides of one piece of work, and how far their outputs agree."""

    what: str
    baseline: str
    ours: str
    ratio: str
    agreement: str = ""


@dataclass(frozen=True)
class Table:
    """Lines of Markdown, what they come to, and whether the outputs agree."""

    lines: Sequence[str]
    findings: Sequence[Finding] = ()
    holds: bool = True


@dataclass(frozen=True)
class Spread:
    """The median of some figures, and the least and the largest."""

    middle: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value.

    Raises:
        ValueError: there is none.
    """
    if not values:
        raise ValueError("a spread is of at least one value: there is none")
    return Spread(median(values), min(values), max(values))


def in_turns(sides: Mapping[str, Callable[[], Result]], rounds: int) -> list[dict[str, Result]]:
    """Each side once a round. Every second round goes backwards, so that none always follows the same one."""
    order = list(sides)
    done = []
    for number in range(rounds):
        turn = order if number % 2 == 0 else order[::-1]
        results = {name: sides[name]() for name in turn}
        done.append({name: results[name] for name in order})
    return done


def ratio(rounds: Sequence[Mapping[str, float]], baseline: str, ours: str) -> Spread:
    """How many times as long the baseline takes. A ratio is of two times of one round: what the machine does
    besides falls on both.
    """
    return spread([times[baseline] / times[ours] for times in rounds])


def number(value: float) -> str:
    """Three digits at least: `0.012`, `1.23`, `12.3`, `123`."""
    for least, digits in ((100, 0), (10, 1), (1, 2)):
        if abs(value) >= least:
            return f"{value:.{digits}f}"
    return f"{value:.3f}"


def cell(of: Spread) -> str:
    """`1.23 [1.20, 1.31]`: the median, the least and the largest; one figure where there was one round."""
    if of.least == of.most:
        return number(of.middle)
    return f"{number(of.middle)} [{number(of.least)}, {number(of.most)}]"


def row(*cells: str) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def heading(*cells: str) -> list[str]:
    """The first two lines of a Markdown table."""
    return [row(*cells), f"|{'---|' * len(cells)}"]


def summary(findings: Sequence[Finding]) -> list[str]:
    """The summary, as a Markdown table."""
    lines = heading("", "baseline", "ours", "ratio", "agreement")
    return lines + [row(one.what, one.baseline, one.ours, f"**{one.ratio}**", one.agreement) for one in findings]


def finding(
    what: str, unit: str, rounds: Sequence[Mapping[str, float]], baseline: str, ours: str, agreement: str = ""
) -> Finding:
    """The finding about two sides' times, in `unit`."""
    theirs, own = (f"{cell(spread([times[side] for times in rounds]))} {unit}" for side in (baseline, ours))
    return Finding(what, theirs, own, cell(ratio(rounds, baseline, ours)), agreement)
