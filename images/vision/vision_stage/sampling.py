"""Which decoded frames are looked at."""

import math

TOLERANCE_S = 1e-6
"""Less than any time base in use; keeps a frame that is due from being missed by a rounding error."""


def widened_interval_s(interval_s: float, duration_s: float, max_frames: int) -> float:
    """The interval asked for, or the least one at which `duration_s` holds no more than `max_frames`."""
    return max(interval_s, duration_s / max_frames)


class SampleGrid:
    """Takes the first frame at or after each multiple of the interval, and the very first frame.

    Goes by the frames' times, so that a variable frame rate does no harm: a picture that stands longer
    than the interval is taken once. Never takes more than `max_frames`.
    """

    def __init__(self, interval_s: float, max_frames: int) -> None:
        self.interval_s = interval_s
        self._max_frames = max_frames
        self._taken = 0
        self._due_s = -math.inf

    def takes(self, time_s: float) -> bool:
        """Whether the frame at `time_s` is taken. Ask once for each frame, in the order of display."""
        if time_s < self._due_s - TOLERANCE_S or self._taken == self._max_frames:
            return False
        self._due_s = (math.floor((time_s + TOLERANCE_S) / self.interval_s) + 1) * self.interval_s
        self._taken += 1
        return True
