"""Which packets of a video are decoded: those that a sample, or a comparison between shots, needs.

A group is what lies between two key frames. Its packets are in the order of decoding; `times` are in the order of
display, in ticks of the stream's time base.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

SHORT_GROUP_S = 0.5
"""Groups up to this long are compared by their key frames alone: every shot, 0.6 s at least, holds one of them."""

MOST_GROUP_PACKETS = 600
MOST_GROUP_BYTES = 32 * 2**20
"""A longer group is not kept together: from there on everything is decoded as it comes."""

GROUPED_CODECS = frozenset(
    ("h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "mjpeg", "prores", "dnxhd", "dvvideo", "jpeg2000")
)
"""Codecs whose key frames begin anew and whose decoders leave out frames that no other refers to."""


P = TypeVar("P")


@dataclass(frozen=True)
class PacketFacts:
    """What a packet says of itself. `time` is none where it has none; `is_shown` is false where an edit cuts it out."""

    time: int | None
    is_key: bool
    is_shown: bool
    size_bytes: int


@dataclass(frozen=True)
class Group(Generic[P]):
    """A key frame and what follows it up to the next, in the order of decoding.

    `wanted` are the times of the samples. `is_whole` is false where the packets are not all there, or not orderly:
    then neither times nor samples are known.
    """

    packets: Sequence[tuple[P, PacketFacts]]
    times: tuple[int, ...] = ()
    wanted: tuple[int, ...] = ()
    is_whole: bool = False

    @property
    def key(self) -> int:
        """The key frame's time. Frames before it in `times` lead: they refer to the group before as well."""
        return self.packets[0][1].time or 0

    def count_between(self, one: int, other: int) -> int:
        """How many frames are shown after `one` and before `other`."""
        return max(0, bisect_left(self.times, other) - bisect_right(self.times, one))

    def last_needed(self, *times: int) -> int:
        """How many packets, from the first, must be decoded to have the frames of these times."""
        return 1 + max(number for number, (_, facts) in enumerate(self.packets) if facts.time in times)


@dataclass(frozen=True)
class Extent:
    """How much of a group is decoded: its first `packets`; of these `all_frames`, or those that others refer to, and
    those of the `times`.
    """

    packets: int
    all_frames: bool
    times: tuple[int, ...] = ()


def grouped(packets: Iterable[tuple[P, PacketFacts]]) -> Iterator[list[tuple[P, PacketFacts]]]:
    """Packets by their key frames. A group beyond the limits comes in pieces."""
    group: list[tuple[P, PacketFacts]] = []
    size_bytes = 0
    for packet, facts in packets:
        is_full = len(group) == MOST_GROUP_PACKETS or size_bytes > MOST_GROUP_BYTES
        if group and (facts.is_key or is_full):
            yield group
            group, size_bytes = [], 0
        group.append((packet, facts))
        size_bytes += facts.size_bytes
    if group:
        yield group


def times_of(packets: Sequence[tuple[P, PacketFacts]], after: int | None) -> tuple[int, ...] | None:
    """The times shown, in order; none where they cannot be relied on: no key frame first, missing, double, or not
    all later than `after`.
    """
    facts = [facts for _, facts in packets]
    shown = [fact.time for fact in facts if fact.is_shown]
    times = sorted(time for time in shown if time is not None)
    is_orderly = facts[0].is_key and facts[0].is_shown and len(times) == len(shown) == len(set(times)) > 0
    return tuple(times) if is_orderly and (after is None or times[0] > after) else None


def extent(group: Group[P], following: Group[P] | None, compared: int | None, short: int) -> Extent:
    """How much of `group` to decode, given the group that follows it.

    `compared` is the time of the last frame that shots were compared by, `short` the longest span, in ticks, in which
    one frame is enough for them.
    """
    whole = len(group.packets)
    if not group.is_whole or (following and not following.is_whole):
        return Extent(whole, all_frames=True)
    if following is None:
        return Extent(whole, all_frames=False, times=(*group.wanted, group.times[-1]))
    is_short = following.times[0] - group.times[0] <= short
    if not is_short or _refers_back(following, short):
        return Extent(whole, all_frames=False, times=group.wanted)
    is_due = compared is None or following.key - compared > short
    needed = (*group.wanted, group.key) if is_due else group.wanted
    return Extent(group.last_needed(*needed) if needed else 0, all_frames=False, times=group.wanted)


def _refers_back(group: Group[P], short: int) -> bool:
    """Whether frames that lead a group, and refer to the one before, will be decoded."""
    is_short = group.times[-1] - group.times[0] < short
    return group.times[0] < group.key and (not is_short or any(time < group.key for time in group.wanted))
