"""Claims and lists of what waits."""

from sqlalchemy import text

from operators.backfill.backlog import extend_plan
from operators.backfill.estimate import STARTING_RATES
from operators.backfill.shards import claim_shard
from operators.backfill.store import begin_extension, find_backfill, finish_backfill, named_items, next_work_s
from operators.scan.rules import ScanRules
from tests.operators.backfill.night_setup import NOW, asset_id, begin, fill_archive, rows

IDLE = text("show idle_in_transaction_session_timeout")


def test_postgres_ends_a_claim_whose_process_is_frozen_and_no_other_transaction(media_database):
    backfill = find_backfill(media_database, begin(media_database))
    seen = []
    with media_database.connect() as connection:
        with connection.begin():
            claim_shard(connection, backfill, NOW, lambda _: seen.append(connection.execute(IDLE).scalar_one()))
        assert (seen, connection.execute(IDLE).scalar_one()) == (["1min"], "0")


def test_a_backfill_that_is_over_is_planned_no_more(media_database):
    backfill_id = begin(media_database)
    for is_over in (False, True):
        with media_database.begin() as connection:
            assert begin_extension(connection, backfill_id, is_planned=True) == (not is_over)
        finish_backfill(media_database, backfill_id, NOW, "{}")


def test_lists_of_what_waits_are_in_order_and_say_where_it_lies(media_database):
    fill_archive(media_database, [60, 180, 120])
    backfill_id = begin(media_database)
    backfill = find_backfill(media_database, backfill_id)
    extend_plan(
        media_database, backfill_id, backfill.scope, backfill.wanted, STARTING_RATES, {}, False, NOW, ScanRules()
    )
    with media_database.begin() as connection:
        connection.execute(text("delete from media_location where asset_id = :id"), {"id": asset_id(2)})
    names = {
        name: [shown for shown, _ in named_items(media_database, backfill_id, name, 2)]
        for name in ("list_first_items", "list_longest_items")
    }
    assert names == {
        "list_first_items": ["archive/tape 0000.mp4", "archive/tape 0001.mp4"],
        "list_longest_items": ["archive/tape 0001.mp4", asset_id(2)],
    }
    ((first_s, all_s),) = rows(
        media_database, "select max(expected_s) filter (where media_s = 60), sum(expected_s) from backfill_item"
    )
    assert [next_work_s(media_database, backfill_id, most) for most in (0, 1, 9)] == [0, first_s, all_s]
