"""Where speech lies, and how times in speech without its silences lead back to times in the media.

Pure arithmetic on sample positions at 16 kHz. Intervals are half-open, `[start, end)`.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

SAMPLE_RATE_HZ = 16_000

Member = TypeVar("Member")


@dataclass(frozen=True)
class SampleInterval:
    """Samples `start` up to, not including, `end`."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """Samples in it."""
        return self.end - self.start

    def shifted(self, offset: int) -> "SampleInterval":
        """The same stretch, counted from a point `offset` samples earlier."""
        return SampleInterval(self.start + offset, self.end + offset)


@dataclass(frozen=True)
class SettledSpeech:
    """`ready` can be transcribed; samples from `keep_from` on are looked at again with what follows."""

    ready: tuple[SampleInterval, ...]
    keep_from: int


def settle(found: Sequence[SampleInterval], window_length: int, margin: int, last: bool) -> SettledSpeech:
    """Decide what speech found in a window is complete, and what may go on in the next window.

    Speech that ends less than `margin` samples before the window does is kept whole for the next
    one, so that no word is cut; after silence the last `margin` samples are kept, for speech that
    starts on the border. In the `last` window nothing is kept.
    """
    if last:
        return SettledSpeech(tuple(found), window_length)
    if found and found[-1].end > window_length - margin:
        return SettledSpeech(tuple(found[:-1]), found[-1].start)
    return SettledSpeech(tuple(found), max(0, window_length - margin))


def group(intervals: Iterable[SampleInterval], max_length: int) -> list[tuple[SampleInterval, ...]]:
    """Pack neighbouring intervals into groups of at most `max_length` samples of speech.

    Within a group intervals that touch become one. An interval longer than `max_length` stands alone.
    """
    groups: list[list[SampleInterval]] = []
    room = 0
    for interval in intervals:
        if not groups or interval.length > room:
            groups.append([interval])
            room = max_length - interval.length
            continue
        previous = groups[-1][-1]
        if previous.end == interval.start:
            groups[-1][-1] = SampleInterval(previous.start, interval.end)
        else:
            groups[-1].append(interval)
        room -= interval.length
    return [tuple(members) for members in groups]


def even_batches(members: Sequence[Member], max_size: int) -> Iterator[Sequence[Member]]:
    """The members in order, in as few batches of at most `max_size` as there can be, of sizes as even as can be."""
    count = -(-len(members) // max_size)
    for number in range(count):
        yield members[number * len(members) // count : (number + 1) * len(members) // count]


def bridge(intervals: Iterable[SampleInterval], longest_pause: int, max_length: int) -> list[SampleInterval]:
    """Join neighbours over pauses shorter than `longest_pause`, as long as what is joined keeps to `max_length`.

    So a stretch of speech is cut at pauses that were found, as late as can be, and other pauses stay in it.
    """
    joined: list[SampleInterval] = []
    for interval in intervals:
        before = joined[-1] if joined else None
        if before and interval.start - before.end < longest_pause and interval.end - before.start <= max_length:
            joined[-1] = SampleInterval(before.start, interval.end)
        else:
            joined.append(interval)
    return joined


@dataclass(frozen=True)
class PlacedSpan:
    """A span of media time, in seconds, and the number of the interval of speech that it lies in."""

    interval_index: int
    start_s: float
    end_s: float


class JoinedTimeline:
    """Leads from seconds in intervals joined end to end back to seconds in the media."""

    def __init__(self, intervals: Sequence[SampleInterval]) -> None:
        self._intervals = tuple(intervals)
        self._joined_ends = list(accumulate(interval.length for interval in intervals))

    def place(self, start_s: float, end_s: float) -> PlacedSpan:
        """The media time of a span of the joined speech.

        A span belongs to the interval that holds its middle and is cut to it, so that it never
        stretches over a silence that was left out.
        """
        middle = round((start_s + end_s) / 2 * SAMPLE_RATE_HZ)
        index = min(bisect_right(self._joined_ends, middle), len(self._intervals) - 1)
        interval = self._intervals[index]
        offset = interval.end - self._joined_ends[index]
        start, end = (
            min(max(round(time_s * SAMPLE_RATE_HZ) + offset, interval.start), interval.end)
            for time_s in (start_s, end_s)
        )
        return PlacedSpan(index, start / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ)
