"""Runs in the vision image: prints which of a series of pictures the text reader would read again."""

import cv2
import numpy as np

from vision_stage.ocr import is_unchanged

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
