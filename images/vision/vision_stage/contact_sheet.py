"""One picture of the whole asset: frames from beginning to end, each with its time."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

MOST_TILES = 24
COLUMNS = 6
TILE_SIDE_PX = 320
LABEL_PX = 18
GAP_PX = 4
JPEG_QUALITY = 85
BACKGROUND = (24, 24, 24)
FOREGROUND = (235, 235, 235)


@dataclass(frozen=True)
class Tile:
    """A frame scaled down, RGB, uint8, (height, width, 3), and its time."""

    time_s: float
    picture: np.ndarray


class ContactSheet:
    """Gathers tiles without knowing how many frames will come.

    Keeps every frame at first. With twice as many as the sheet shows it drops every second one, and
    from then on takes half as often: memory is bounded, the spacing stays even.
    """

    def __init__(self) -> None:
        self._tiles: list[Tile] = []
        self._every = 1
        self._seen = 0

    def add(self, time_s: float, picture: np.ndarray) -> None:
        """Offer the next sampled frame, an RGB picture, uint8, (height, width, 3)."""
        if self._seen % self._every == 0:
            if len(self._tiles) == 2 * MOST_TILES:
                self._tiles = self._tiles[::2]
                self._every *= 2
            if self._seen % self._every == 0:
                self._tiles.append(Tile(time_s, _scaled_down(picture)))
        self._seen += 1

    def write(self, path: Path) -> int:
        """Write a JPEG of at most 24 frames, evenly spaced, in rows of six. Returns how many it shows."""
        shown = evenly(len(self._tiles), MOST_TILES)
        tiles = [self._tiles[number] for number in shown]
        height_px, width_px = tiles[0].picture.shape[:2]
        columns = min(COLUMNS, len(tiles))
        rows = -(-len(tiles) // columns)
        step_x, step_y = width_px + GAP_PX, height_px + LABEL_PX + GAP_PX
        sheet = Image.new("RGB", (columns * step_x + GAP_PX, rows * step_y + GAP_PX), BACKGROUND)
        draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(LABEL_PX - 5)
        for number, tile in enumerate(tiles):
            left, top = GAP_PX + number % columns * step_x, GAP_PX + number // columns * step_y
            sheet.paste(Image.fromarray(tile.picture), (left, top))
            draw.text((left + 2, top + height_px + 1), clock(tile.time_s), fill=FOREGROUND, font=font)
        sheet.save(path, format="JPEG", quality=JPEG_QUALITY)
        return len(tiles)


def evenly(count: int, most: int) -> list[int]:
    """Up to `most` indices out of `count`, the first and the last among them, evenly spaced."""
    if count <= most:
        return list(range(count))
    return [round(number * (count - 1) / (most - 1)) for number in range(most)]


def clock(time_s: float) -> str:
    """A time as `h:mm:ss.s`, cut to a tenth of a second."""
    tenths = int(time_s * 10)
    return f"{tenths // 36000}:{tenths // 600 % 60:02d}:{tenths // 10 % 60:02d}.{tenths % 10}"


def _scaled_down(picture: np.ndarray) -> np.ndarray:
    height_px, width_px = picture.shape[:2]
    scale = min(1.0, TILE_SIDE_PX / max(width_px, height_px))
    size = (max(1, round(width_px * scale)), max(1, round(height_px * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
