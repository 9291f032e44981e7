"""Tiles of contact sheets: as the vision stage lays them out."""

import importlib.util
import io
import struct
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import pytest

from operators.views.contact_sheet import Tile, jpeg_size, nearest_tile, shown_frames, tile_box

SOURCE = Path(__file__).resolve().parents[3] / "images/vision/vision_stage/contact_sheet.py"


@pytest.fixture(scope="module")
def stage() -> ModuleType:
    """The stage's module; the libraries that it draws with are in its image alone."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("cv2", "numpy", "PIL"):
            patch.setitem(sys.modules, name, MagicMock())
        spec = importlib.util.spec_from_file_location("contact_sheet_of_the_stage", SOURCE)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
    module.__dict__["_scaled_down"] = lambda picture: picture
    return module


@pytest.mark.parametrize("frame_count", [1, 2, 5, 6, 7, 23, 24, 25, 47, 48, 49, 50, 95, 96, 97, 100, 193, 1000, 3600])
def test_the_frames_are_those_that_the_stage_shows(stage: ModuleType, frame_count: int) -> None:
    sheet = stage.ContactSheet()
    for index in range(frame_count):
        sheet.add(float(index), None)

    shown = [sheet._tiles[number].time_s for number in stage.evenly(len(sheet._tiles), stage.MOST_TILES)]

    assert shown_frames(frame_count) == shown


@pytest.mark.parametrize(("tiles", "width_px", "height_px"), [(24, 320, 180), (6, 320, 240), (4, 180, 320), (7, 1, 1)])
def test_a_tile_is_cut_out_where_the_stage_put_it(
    stage: ModuleType, tiles: int, width_px: int, height_px: int, tmp_path: Path
) -> None:
    sheet, image = stage.ContactSheet(), stage.Image
    image.reset_mock()
    for index in range(tiles):
        sheet.add(float(index), MagicMock(shape=(height_px, width_px, 3)))
    sheet.write(tmp_path / "sheet.jpg")
    size: Any = image.new.call_args.args[1]
    pasted = [call.args[1] for call in image.new.return_value.paste.call_args_list]

    boxes = [tile_box(number, tiles, *size) for number in range(tiles)]

    assert [(box.x_px, box.y_px) for box in boxes if box] == pasted
    assert {(box.width_px, box.height_px) for box in boxes if box} == {(width_px, height_px)}


def test_the_nearest_frame_is_the_thumbnail() -> None:
    assert nearest_tile(3600, 1.0, 0.0) == Tile(0, 0.0)
    assert nearest_tile(3600, 1.0, 1e6) == Tile(23, 3584.0)
    assert nearest_tile(10, 2.0, 9.2) == Tile(5, 10.0)
    assert nearest_tile(0, 1.0, 5.0) is None


def test_no_tile_is_cut_out_of_a_sheet_that_cannot_have_it() -> None:
    assert tile_box(4, 4, 1000, 1000) is None
    assert tile_box(0, 24, 20, 20) is None


def jpeg(*segments: tuple[int, bytes]) -> bytes:
    made = io.BytesIO(b"\xff\xd8")
    made.seek(0, io.SEEK_END)
    for marker, body in segments:
        made.write(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body)
    return made.getvalue()


def test_a_pictures_size_is_read_from_its_header() -> None:
    head = jpeg((0xE0, b"JFIF\0"), (0xDB, bytes(65)), (0xC0, struct.pack(">BHH", 8, 812, 1948) + bytes(10)))

    assert jpeg_size(head) == (1948, 812)


@pytest.mark.parametrize(
    "head", [b"", b"JFIF", b"\xff\xd8", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n", jpeg((0xE0, b"x" * 50))]
)
def test_what_is_no_picture_has_no_size(head: bytes) -> None:
    assert jpeg_size(head) is None
