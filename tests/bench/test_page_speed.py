"""What the benchmark of the pages makes of a plan, and of many requests."""

from sqlalchemy import text

from tests.bench.page_speed import Measured
from tests.bench.query_plans import explaining, full_scans

LARGE = frozenset({"media_location"})
FILL = """
insert into media_location (root, path, seen_at, rejection_reason, rejection_message)
select 'archive', n::text, now(), 'empty', 'empty' from generate_series(1, 5000) as n
"""


def plan_of(database, statement):
    with database.connect() as connection, explaining(database) as plans:
        connection.execute(text(f"-- name: it\n{statement}"))
        connection.execute(text("set local enable_seqscan = off"))
    plan, nothing = plans
    assert nothing is None
    return plan


def test_a_table_that_is_read_from_end_to_end_is_named(media_database):
    with media_database.begin() as connection:
        connection.execute(text(FILL))
        connection.execute(text("analyze media_location"))
    search = "select path from media_location where "
    assert full_scans(plan_of(media_database, search + "rejection_message like '%x'"), LARGE) == ["media_location"]
    assert full_scans(plan_of(media_database, search + "root = 'archive' and path = '7'"), LARGE) == []
    assert full_scans(plan_of(media_database, search + "rejection_message like '%x'"), frozenset()) == []


def test_the_first_rows_of_an_index_are_no_full_scan():
    scan = {"Node Type": "Index Scan", "Relation Name": "media_location"}
    assert full_scans({"Node Type": "Limit", "Plans": [scan]}, LARGE) == []
    assert full_scans({"Node Type": "Aggregate", "Plans": [scan]}, LARGE) == ["media_location"]


def test_a_page_is_judged_by_its_second_slowest_request_of_thirty():
    fast = Measured("runs", (0.1,) * 29 + (5.0,), 2, ())
    assert fast.p95_s == 0.1
    assert fast.is_good
    assert not Measured("runs", (0.1,) * 28 + (1.0, 5.0), 2, ()).is_good
    assert not Measured("runs", (0.1,) * 30, 2, ("phase_timing",)).is_good
