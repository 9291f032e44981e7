"""Where one shot ends and the next begins.

Hard cuts are found, to the frame. The measure is that of PySceneDetect's ContentDetector, with its default threshold
and shortest shot: the mean difference in hue, saturation and value, on frames scaled down to 64 pixels. A slow
dissolve changes too little from frame to frame and is not found.

Not every frame is compared. Spans of up to half a second are, by their ends: where these differ by less than half of
what makes a cut, no cut that stays lies between them. Where they differ by more, the halves of the span are compared,
and so on to neighbouring frames. A flash, which gives way to what was there before in less than the shortest shot, is
no cut.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from stage_contract.outputs import Shot

CUT_DISTANCE = 27.0
POSSIBLE_DISTANCE = CUT_DISTANCE / 2
SHORTEST_SHOT_S = 0.6


class Look(Protocol):
    """A frame as shots see it. `follows`: no frame was left out between it and the one before."""

    @property
    def time_s(self) -> float:
        """Seconds from the start of the media."""

    @property
    def follows(self) -> bool:
        """Whether it comes right after the frame before it."""


L = TypeVar("L", bound=Look)


@dataclass(frozen=True)
class Cut(Generic[L]):
    """A frame that differs from the one before it, and that one."""

    before: L
    at: L


class ShotDetector(Generic[L]):
    """Turns spans of frames into shots.

    `distance` is the difference of two frames, 0..255, and obeys the triangle inequality. `between` gives frames that
    were left out between two, at least one where there are any. `is_restless`: they were asked for in the last span,
    and there was no cut.
    """

    def __init__(self, distance: Callable[[L, L], float], between: Callable[[L, L], Sequence[L]]) -> None:
        self._distance = distance
        self._between = between
        self._starts_s: list[float] = []
        self._last: L | None = None
        self._unsettled: tuple[Cut[L], ...] = ()
        self.is_restless = False

    def add(self, span: Sequence[L]) -> float:
        """Take the next frames. Returns up to which time, s, the shots are settled: that of the last frame, or of the
        last one before a change that may yet turn out a flash.
        """
        if self._last is None:
            self._starts_s.append(span[0].time_s)
            self._last = span[0]
        self.is_restless = False
        self._unsettled += self._cuts((self._last, *span))
        self._last = span[-1]
        self._weigh(self._last)
        return self._unsettled[0].before.time_s if self._unsettled else self._last.time_s

    def index_at(self, time_s: float) -> int:
        """The index of the shot that a settled frame belongs to."""
        return bisect_right(self._starts_s, time_s) - 1

    def finish(self) -> None:
        """No more frames come: what was not settled is."""
        self._settle()

    def shots(self, end_s: float) -> tuple[Shot, ...]:
        """All shots, the last one ending at `end_s`."""
        ends_s = [*self._starts_s[1:], max(end_s, *self._starts_s)] if self._starts_s else []
        return tuple(
            Shot(index=index, start_s=round(start_s, 3), end_s=round(shot_end_s, 3))
            for index, (start_s, shot_end_s) in enumerate(zip(self._starts_s, ends_s, strict=True))
        )

    def _weigh(self, last: L) -> None:
        """Settle cuts that cannot be a flash any more, drop those that were one."""
        if not self._unsettled:
            return
        first, latest = self._unsettled[0], self._unsettled[-1]
        is_short = latest.at.time_s - first.at.time_s < SHORTEST_SHOT_S
        if is_short and self._distance(first.before, latest.at) < POSSIBLE_DISTANCE:
            self._unsettled = ()
        elif last.time_s - first.at.time_s >= SHORTEST_SHOT_S:
            self._settle()

    def _settle(self) -> None:
        for cut in self._unsettled:
            if cut.at.time_s - self._starts_s[-1] >= SHORTEST_SHOT_S:
                self._starts_s.append(cut.at.time_s)
        self._unsettled = ()

    def _cuts(self, frames: Sequence[L]) -> tuple[Cut[L], ...]:
        """The cuts among frames: halves are looked into as long as their ends differ."""
        one, two = frames[0], frames[-1]
        if self._distance(one, two) < POSSIBLE_DISTANCE:
            return ()
        if len(frames) > 2:
            middle = len(frames) // 2
            return self._cuts(frames[: middle + 1]) + self._cuts(frames[middle:])
        left_out = () if two.follows else self._between(one, two)
        if left_out:
            cuts = self._cuts((one, *left_out, two))
            self.is_restless = self.is_restless or not cuts
            return cuts
        return (Cut(one, two),) if self._distance(one, two) >= CUT_DISTANCE else ()
