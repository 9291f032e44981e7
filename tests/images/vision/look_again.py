"""Runs in the vision image: prints which of a series of pictures the models would not look at again."""

import cv2
import numpy as np

from vision_stage.unchanged import LastLookedAt, is_unchanged, surely_changed

NOISE = np.random.default_rng(7)


def slide(text: str, noise: int = 0) -> np.ndarray:
    picture = np.full((720, 1280, 3), 90, np.uint8)
    cv2.putText(picture, text, (900, 690), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 2)
    jitter = NOISE.integers(-noise, noise + 1, picture.shape)
    return np.clip(picture.astype(int) + jitter, 0, 255).astype(np.uint8)


first = slide("10:00:01")
print("same", is_unchanged(first, first.copy()))
print("compression noise", is_unchanged(first, slide("10:00:01", noise=2)))
print("one digit", is_unchanged(first, slide("10:00:07")))
print("text gone", is_unchanged(first, slide("")))
print("another size", is_unchanged(first, first[:360]))

fading, last = [np.full((720, 1280, 3), 90 + level, np.uint8) for level in range(8)], LastLookedAt()
print("fading", [last.shows(cv2.resize(picture, (64, 36)), picture) for picture in fading])


def signature(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, (64, 36), interpolation=cv2.INTER_AREA)


noisy = [slide("10:00:01", noise) for noise in range(8)]
print("refused unseen", any(surely_changed(signature(p), signature(q)) for p in noisy for q in noisy))
print("another slide", surely_changed(signature(first), signature(255 - first)))
