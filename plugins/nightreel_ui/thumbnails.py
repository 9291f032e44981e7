"""Thumbnails: tiles of contact sheets, cut out by the browser."""

from dataclasses import dataclass
from functools import lru_cache
from os import close, pread

from fastapi import Request

from nightreel_ui.media_files import open_below
from operators import settings
from operators.errors import NightreelError
from operators.views.asset_list import Sheet
from operators.views.contact_sheet import TileBox, jpeg_size, tile_box
from stage_contract.outputs import CONTACT_SHEET_FILE
from stage_contract.result import result_dir
from stage_contract.vocabulary import Stage

HEAD_BYTES = 4_096


class SheetMissing(NightreelError):
    """An asset's contact sheet is not there, or no picture."""


@dataclass(frozen=True)
class Thumbnail:
    """A tile of a sheet, the sheet's address, and about when it is in the media."""

    address: str
    box: TileBox
    time_s: float


def thumbnail_of(request: Request, asset_id: str, sheet: Sheet | None, time_s: float) -> Thumbnail | None:
    """The picture nearest to a time; none where there is no sheet, or its file is gone."""
    tile = sheet.tile(time_s) if sheet else None
    if sheet is None or tile is None:
        return None
    try:
        box = tile_box(tile.number, sheet.frame_count, *sheet_size(asset_id, sheet.fingerprint))
    except SheetMissing:
        return None
    base = request.scope.get("root_path", "")
    address = f"{base}/archive/asset/{asset_id}/file/{Stage.ANALYZE}/{sheet.fingerprint}/{CONTACT_SHEET_FILE}"
    return Thumbnail(address, box, tile.time_s) if box else None


@lru_cache(maxsize=1_000)
def sheet_size(asset_id: str, fingerprint: str) -> tuple[int, int]:
    """Width and height of a contact sheet, in pixels. It is kept, for a result does not change; a failure is not.

    Raises:
        SheetMissing: there is no such file, or it is no picture.
    """
    file = open_below(result_dir(settings.RESULTS_MOUNT, asset_id, Stage.ANALYZE, fingerprint), CONTACT_SHEET_FILE)
    if file is None:
        raise SheetMissing(f"{CONTACT_SHEET_FILE} must be in the result {fingerprint} of {asset_id}: it is not")
    try:
        size = jpeg_size(pread(file.descriptor, HEAD_BYTES, 0))
    finally:
        close(file.descriptor)
    if size is None:
        raise SheetMissing(f"{CONTACT_SHEET_FILE} of {asset_id} must be a JPEG file that tells its size: it is not")
    return size
