"""The generator of results: what it makes is found, and found by indexes."""

import pytest
from sqlalchemy import Engine

from operators.views import assets, search
from operators.views.asset_list import Totals, newest, totals
from operators.views.search import Kind, Wish
from tests.bench.many_results import ENTITIES, fill_results
from tests.bench.query_plans import explaining, full_scans

LARGE = frozenset({"transcript_segment", "frame_text", "entity", "detection"})


@pytest.fixture
def filled(media_database: Engine) -> Engine:
    """Twenty assets with thirty utterances each."""
    fill_results(media_database, assets=20, segments=30, frames=20)
    return media_database


def test_what_is_made_is_found_in_every_way(filled: Engine) -> None:
    found = search.search(filled, Wish("word0 or person"), limit=30, offset=0, hits=3)

    kinds = {kind for asset in found.assets for kind in asset.counts}
    assert kinds == {Kind.SPEECH, Kind.SCREEN, Kind.OBJECTS}
    assert search.search(filled, Wish("word", Kind.NAMES), limit=30, offset=0, hits=3).assets
    assert totals(filled) == Totals(20, 20, 20, 3_000.0)


def test_an_asset_that_is_made_has_all_that_its_page_shows(filled: Engine) -> None:
    (card,) = newest(filled, 1)

    asset = assets.read_asset(filled, card.asset_id)

    assert asset is not None
    assert {state.status for state in asset.stages} == {"done"}
    assert sum(name.mentions for name in asset.names) == ENTITIES
    assert all((asset.probe, asset.speech, asset.tone, asset.analysis, asset.objects, asset.screen_texts, asset.shots))
    assert len(assets.read_utterances(filled, card.asset_id, 100, 0)) == 30


@pytest.mark.parametrize(
    "wish",
    [
        Wish("word0 word1"),
        Wish("person", Kind.OBJECTS),
        Wish("word1", language="de"),
        Wish("word1", folder="archive/2003"),
    ],
)
def test_no_large_table_is_read_from_end_to_end(filled: Engine, wish: Wish) -> None:
    with explaining(filled) as plans:
        search.search(filled, wish, limit=10, offset=0, hits=3)

    read = [plan for plan in plans if plan]
    assert len(read) > 4
    assert [table for plan in read for table in full_scans(plan, LARGE)] == []
