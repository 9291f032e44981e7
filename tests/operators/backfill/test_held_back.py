"""What failed before and is left alone, of what a backfill is about."""

from datetime import timedelta

import pytest

from operators.backfill.held_back import HeldBack, count_held_back
from operators.backfill.scope import BackfillScope
from operators.backfill.store import NewBackfill, find_backfill, open_backfill
from operators.routing import with_prerequisites
from stage_contract.vocabulary import Stage
from tests.operators.backfill.night_setup import MINUTE, NOW, asset_id, fill_archive, hold_back
from tests.operators.backfill.records import add_result

BOTH = HeldBack(waiting=1, first_ready_at=NOW + 60 * MINUTE, parked=1)
WAITING, PARKED = BOTH.model_copy(update={"parked": 0}), HeldBack(parked=1)
STAGES = (Stage.TRANSCRIBE,)


@pytest.fixture
def held_back(media_database):
    """Counts what is held back of a scope, with three tapes of which two failed."""
    fill_archive(media_database, [600] * 3)
    hold_back(media_database)

    def count(fingerprints=None, **scope):
        asked = BackfillScope(stages=STAGES, **scope)
        wanted = dict.fromkeys(with_prerequisites(STAGES), fingerprints)
        new = NewBackfill("archive_backfill", "night", asked, wanted, NOW, NOW + timedelta(hours=8))
        return count_held_back(media_database, find_backfill(media_database, open_backfill(media_database, new)))

    return count


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({}, BOTH),
        ({"folders": ("archive/tape 0000.mp4",)}, WAITING),
        ({"folders": ("archive/elsewhere", "inbox")}, HeldBack()),
        ({"asset_ids": (asset_id(1),)}, PARKED),
    ],
)
def test_only_what_the_backfill_is_about_counts(held_back, scope, expected):
    assert held_back(**scope) == expected


def test_what_has_all_results_since_is_not_held_back(media_database, held_back):
    for stage in with_prerequisites(STAGES):
        add_result(media_database, asset_id(0), stage, fingerprint="1" * 24)
    assert held_back() == PARKED
    assert held_back(fingerprints=["2" * 24]) == BOTH
