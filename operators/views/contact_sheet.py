"""Which frames a contact sheet shows and where: a thumbnail is a tile of it. `vision.analyze` makes them."""

from dataclasses import dataclass

MOST_TILES = 24
COLUMNS = 6
LABEL_PX = 18
GAP_PX = 4
SIZE_MARKERS = frozenset({0xC0, 0xC1, 0xC2})
"""JPEG's baseline, extended and progressive frame headers (ITU-T T.81, table B.1)."""


@dataclass(frozen=True)
class Tile:
    """One frame of a sheet: its number there, and about when it is in the media."""

    number: int
    time_s: float


@dataclass(frozen=True)
class TileBox:
    """A tile in its sheet, in pixels, origin top left; and the size of the sheet."""

    x_px: float
    y_px: float
    width_px: float
    height_px: float
    sheet_width_px: int
    sheet_height_px: int


def shown_frames(frame_count: int) -> list[int]:
    """The indices of the sampled frames on the sheet of an asset that has `frame_count` of them.

    While sampling, every second frame is dropped whenever there are more than twice as many as the sheet takes.
    """
    if frame_count < 1:
        return []
    every = 1
    while -(-frame_count // every) > 2 * MOST_TILES:
        every *= 2
    kept = range(0, frame_count, every)
    if len(kept) <= MOST_TILES:
        return list(kept)
    return [kept[round(number * (len(kept) - 1) / (MOST_TILES - 1))] for number in range(MOST_TILES)]


def nearest_tile(frame_count: int, interval_s: float, time_s: float) -> Tile | None:
    """The tile whose frame is nearest to `time_s`; none where the sheet is empty."""
    tiles = [Tile(number, index * interval_s) for number, index in enumerate(shown_frames(frame_count))]
    return min(tiles, key=lambda tile: abs(tile.time_s - time_s), default=None)


def tile_box(number: int, frame_count: int, sheet_width_px: int, sheet_height_px: int) -> TileBox | None:
    """Where tile `number` is on a sheet of this size; none where such a sheet cannot have it."""
    tiles = len(shown_frames(frame_count))
    if not 0 <= number < tiles:
        return None
    columns = min(COLUMNS, tiles)
    rows = -(-tiles // columns)
    width_px = (sheet_width_px - GAP_PX) / columns - GAP_PX
    height_px = (sheet_height_px - GAP_PX) / rows - GAP_PX - LABEL_PX
    if width_px < 1 or height_px < 1:
        return None
    x_px = GAP_PX + number % columns * (width_px + GAP_PX)
    y_px = GAP_PX + number // columns * (height_px + LABEL_PX + GAP_PX)
    return TileBox(x_px, y_px, width_px, height_px, sheet_width_px, sheet_height_px)


def jpeg_size(head: bytes) -> tuple[int, int] | None:
    """Width and height in pixels from the beginning of a JPEG file; none where it does not say."""
    at = 2
    while head[:2] == b"\xff\xd8" and at + 9 <= len(head) and head[at] == 0xFF:
        marker, length = head[at + 1], int.from_bytes(head[at + 2 : at + 4], "big")
        if marker in SIZE_MARKERS:
            return int.from_bytes(head[at + 7 : at + 9], "big"), int.from_bytes(head[at + 5 : at + 7], "big")
        at += 2 + length
    return None
