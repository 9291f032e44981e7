"""Whether a sampled picture shows what an earlier one showed, so that the models need not look again."""

import cv2
import numpy as np

BLOCK_PX = 16
UNCHANGED_DIFFERENCE = 3.0
"""Of 255. Compression alone moves a still picture's blocks by less than 1; one new digit moves some by 20 and more."""

SURELY_CHANGED_DIFFERENCE = 32.0
"""Of 255, in one pixel of the signature: from 320 px on no picture whose blocks differ by 3 gives that."""


class LastLookedAt:
    """The picture that the models looked at last. Each is compared with it, not with the one just before, so that
    small differences do not add up.
    """

    def __init__(self) -> None:
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def shows(self, signature: np.ndarray, picture: np.ndarray) -> bool:
        """Whether it shows what `picture` shows; where it does not, `picture` takes its place.

        RGB, uint8, (height, width, 3); `signature` is the picture scaled down.
        """
        if self._last and not surely_changed(self._last[0], signature) and is_unchanged(self._last[1], picture):
            return True
        self._last = signature, picture
        return False


def surely_changed(before: np.ndarray, signature: np.ndarray) -> bool:
    """Whether signatures alone tell that the pictures differ, which spares comparing these."""
    return float(cv2.cvtColor(cv2.absdiff(before, signature), cv2.COLOR_RGB2GRAY).max()) > SURELY_CHANGED_DIFFERENCE


def is_unchanged(before: np.ndarray, picture: np.ndarray) -> bool:
    """Whether no block of 16 x 16 pixels differs by more than noise. RGB, uint8, (height, width, 3)."""
    if before.shape != picture.shape:
        return False
    difference = cv2.cvtColor(cv2.absdiff(before, picture), cv2.COLOR_RGB2GRAY)
    height_px, width_px = difference.shape
    blocks = (max(1, width_px // BLOCK_PX), max(1, height_px // BLOCK_PX))
    return float(cv2.resize(difference, blocks, interpolation=cv2.INTER_AREA).max()) <= UNCHANGED_DIFFERENCE
