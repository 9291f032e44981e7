"""Assets as lists show them, and what the archive holds in all."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from operators.clean_text import printable
from operators.database import Database, transaction
from operators.queries import query
from operators.views.contact_sheet import Tile, nearest_tile
from stage_contract.outputs import CONTACT_SHEET_FILE


@dataclass(frozen=True)
class Sheet:
    """A contact sheet: the result it belongs to, and which frames it was made from."""

    fingerprint: str
    frame_count: int
    interval_s: float

    def tile(self, time_s: float) -> Tile | None:
        """The frame nearest to a time."""
        return nearest_tile(self.frame_count, self.interval_s, time_s)


@dataclass(frozen=True)
class AssetCard:
    """An asset in a list. `place` is `root/path`; empty where no file of it was ever seen under a name."""

    asset_id: str
    place: str
    duration_s: float | None
    has_video: bool | None
    language: str | None
    vanished_at: datetime | None
    sheet: Sheet | None

    @property
    def name(self) -> str:
        """What to call it."""
        return self.place.rpartition("/")[2] or f"asset {self.asset_id[:12]}"


@dataclass(frozen=True)
class Totals:
    """What there is to search: assets, those of them with a transcript and with a picture, and their length."""

    assets: int
    transcripts: int
    analyses: int
    media_s: float


def describe(database: Database, asset_ids: Sequence[str]) -> list[AssetCard]:
    """The cards of assets, in the order given."""
    with transaction(database) as connection:
        asked = {"assets": list(asset_ids), "sheet": CONTACT_SHEET_FILE}
        rows = {row.asset_id: row for row in connection.execute(query("describe_assets"), asked)}
    cards = []
    for asset_id in asset_ids:
        row = rows[asset_id]
        sheet = Sheet(row.sheet_fingerprint, row.frame_count, row.interval_s) if row.sheet_fingerprint else None
        place = printable(f"{row.root}/{row.path}") if row.root else ""
        language = printable(row.language) if row.language else None
        card = AssetCard(asset_id, place, row.duration_s, row.has_video, language, row.vanished_at, sheet)
        cards.append(card)
    return cards


def newest(database: Database, limit: int) -> list[AssetCard]:
    """The assets of which something was published last."""
    with transaction(database) as connection:
        return describe(connection, list(connection.execute(query("newest_assets"), {"limit": limit}).scalars()))


def totals(database: Database) -> Totals:
    """How much there is to search."""
    with transaction(database) as connection:
        row = connection.execute(query("archive_totals")).one()
    return Totals(row.assets, row.transcripts, row.analyses, row.media_s)
