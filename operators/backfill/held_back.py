"""What failed before and a backfill leaves alone: it waits for a later night, or is parked."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from operators.backfill.backlog import path_ranges
from operators.backfill.store import Backfill
from operators.database import Database, transaction
from operators.queries import query


class HeldBack(BaseModel):
    """How many assets wait, from when on the first is tried again (none: none waits), and how many are parked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    waiting: int = 0
    first_ready_at: datetime | None = None
    parked: int = 0

    def __bool__(self) -> bool:
        return bool(self.waiting or self.parked)


def count_held_back(database: Database, backfill: Backfill) -> HeldBack:
    """What is held back of all that a backfill is about, and still lacks a result."""
    ranges = [] if backfill.scope.asset_ids else path_ranges(backfill.scope.folders)
    asked = {
        "backfill_id": backfill.backfill_id,
        "asset_ids": list(backfill.scope.asset_ids),
        "roots": [one.root for one in ranges],
        "paths": [one.first for one in ranges],
        "path_ends": [one.end for one in ranges],
        "stages": list(backfill.wanted),
        "any_stages": [stage for stage, names in backfill.wanted.items() if names is None],
        "fingerprints": [name for names in backfill.wanted.values() for name in names or ()],
    }
    with transaction(database) as connection:
        return HeldBack.model_validate(dict(connection.execute(query("count_held_back"), asked).mappings().one()))
