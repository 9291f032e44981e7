"""Where one shot ends and the next begins.

Every decoded frame is compared with the one before it, so a cut is found to the frame. The measure is
that of PySceneDetect's ContentDetector, with its default threshold and shortest shot: the mean
difference in hue, saturation and value, on frames scaled down to 64 pixels. Hard cuts are found; a slow
dissolve changes too little from frame to frame and is not.
"""

from stage_contract.outputs import Shot

CUT_DISTANCE = 27.0
SHORTEST_SHOT_S = 0.6


class ShotDetector:
    """Turns a row of frame times and distances into shots."""

    def __init__(self, cut_distance: float = CUT_DISTANCE, shortest_shot_s: float = SHORTEST_SHOT_S) -> None:
        self._cut_distance = cut_distance
        self._shortest_shot_s = shortest_shot_s
        self._starts_s: list[float] = []

    def add(self, time_s: float, distance: float) -> int:
        """The index of the shot that a frame belongs to.

        `distance` is the frame's difference, 0..255, from the frame before it. A difference that comes
        sooner than the shortest shot after a cut is a flash, not a cut. The first frame begins a shot.
        """
        if not self._starts_s or self._is_cut(time_s, distance):
            self._starts_s.append(time_s)
        return len(self._starts_s) - 1

    def _is_cut(self, time_s: float, distance: float) -> bool:
        return distance >= self._cut_distance and time_s - self._starts_s[-1] >= self._shortest_shot_s

    def shots(self, end_s: float) -> tuple[Shot, ...]:
        """All shots, the last one ending at `end_s`."""
        ends_s = [*self._starts_s[1:], max(end_s, *self._starts_s)] if self._starts_s else []
        return tuple(
            Shot(index=index, start_s=round(start_s, 3), end_s=round(shot_end_s, 3))
            for index, (start_s, shot_end_s) in enumerate(zip(self._starts_s, ends_s, strict=True))
        )
