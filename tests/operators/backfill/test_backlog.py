"""The plan on a real Postgres: what is in it, in which order, as how much work."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from operators.backfill import backlog
from operators.backfill.backlog import BacklogTotals, backlog_totals, extend_plan
from operators.backfill.estimate import STARTING_RATES, MediaFacts, item_work
from operators.backfill.scope import BackfillScope, Order
from operators.scan.rules import ScanRules
from stage_contract.vocabulary import Stage
from tests.operators.backfill.records import NIGHT, add_backfill, add_media, add_result, add_shard, asset_id

ANY: dict[Stage, None] = dict.fromkeys(Stage)
OLD, NEW = "0" * 24, "1" * 24
RENEWED = {stage: [NEW] for stage in Stage}
PROBE_ONLY = {Stage.PROBE: None}
EVERYTHING = ScanRules()


def plan(
    database: Engine,
    scope: BackfillScope | None = None,
    wanted: Mapping[Stage, Sequence[str] | None] = ANY,
    backfill_id: int | None = None,
    densities: Mapping[str, float] | None = None,
    rules: ScanRules = EVERYTHING,
) -> list[str]:
    """Extend a plan; returns the assets of it that wait, in their order."""
    backfill_id = backfill_id or add_backfill(database)
    scope = scope or BackfillScope()
    extend_plan(database, backfill_id, scope, wanted, STARTING_RATES, densities or {}, False, NIGHT, rules)
    with database.begin() as connection:
        rows = connection.execute(
            text(
                "select asset_id from backfill_item where backfill_id = :id and shard_id is null "
                "order by goes_first desc, order_key, asset_id"
            ),
            {"id": backfill_id},
        )
        return list(rows.scalars())


def item(database: Engine, asset: str) -> dict[str, Any]:
    with database.begin() as connection:
        row = connection.execute(text("select * from backfill_item where asset_id = :id"), {"id": asset}).one()
        return dict(row._mapping)


def add_all_results(database: Engine, asset: str, fingerprint: str = NEW) -> None:
    for stage in Stage:
        add_result(database, asset, stage, fingerprint)


def test_what_lies_in_scope_without_results_is_planned_once(media_database: Engine) -> None:
    for number, path in enumerate(
        ["2024/a.mp4", "2024/b/c.mp4", "2024", "20240/a.mp4", "2024-a.mp4", "2024%/a.mp4", "2025/a.mp4"]
    ):
        add_media(media_database, number, path)
    add_media(media_database, 7, "2024/other root.mp4", root="tapes")
    add_media(media_database, 8, "2024/gone.mp4", vanished=True)
    add_media(media_database, 1, "copy.mp4")
    scope = BackfillScope(folders=("archive/2024/", "archive/2024/b", "archive/2025/a.mp4"))
    backfill_id = add_backfill(media_database)

    expected = sorted(asset_id(number) for number in (0, 1, 2, 6))
    assert plan(media_database, scope, backfill_id=backfill_id) == expected
    assert plan(media_database, scope, backfill_id=backfill_id) == expected


def test_a_root_is_all_that_lies_in_it_and_asset_ids_are_only_those(media_database: Engine) -> None:
    for number, path in enumerate(["a.mp4", "ü/\\xff.mp4", "\U0001f4fc/a.mp4"]):
        add_media(media_database, number, path)
    gone = add_media(media_database, 3, vanished=True)

    assert plan(media_database) == sorted(map(asset_id, range(3)))
    only = BackfillScope(asset_ids=(asset_id(2), gone, "f" * 64))
    assert plan(media_database, only, backfill_id=add_backfill(media_database, "other")) == [asset_id(2)]


def test_what_a_scan_leaves_out_by_now_is_not_planned_unless_it_is_named(media_database: Engine) -> None:
    for number, path in enumerate(["a.mp4", "proxies/b.mp4", "proxies/c.mp4"]):
        add_media(media_database, number, path)
    add_media(media_database, 2, "kept copy of c.mp4")
    rules = ScanRules(exclude=("*/proxies",))

    assert plan(media_database, rules=rules) == sorted(map(asset_id, (0, 2)))
    named = BackfillScope(folders=("archive/proxies/b.mp4",))
    assert plan(media_database, named, backfill_id=add_backfill(media_database, "n"), rules=rules) == [asset_id(1)]
    by_id = BackfillScope(asset_ids=(asset_id(1),))
    assert plan(media_database, by_id, backfill_id=add_backfill(media_database, "i"), rules=rules) == [asset_id(1)]


def test_any_result_counts_unless_results_are_renewed(media_database: Engine) -> None:
    add_all_results(media_database, add_media(media_database, 0), OLD)
    add_all_results(media_database, add_media(media_database, 1), NEW)
    partly = add_media(media_database, 2)
    for stage in set(Stage) - {Stage.ANALYZE}:
        add_result(media_database, partly, stage, NEW)

    assert plan(media_database) == [partly]
    renewed = plan(media_database, wanted=RENEWED, backfill_id=add_backfill(media_database, "renewing"))
    assert set(renewed) == {asset_id(0), partly}


def test_only_the_stages_asked_for_count(media_database: Engine) -> None:
    add_result(media_database, add_media(media_database, 0), Stage.PROBE)
    add_result(media_database, add_media(media_database, 1), Stage.ENRICH)

    assert plan(media_database, wanted=PROBE_ONLY) == [asset_id(1)]


def test_only_what_is_lacking_is_work(media_database: Engine) -> None:
    asset = add_media(media_database, 0, duration_s=100.0)
    for stage in (Stage.PROBE, Stage.EXTRACT, Stage.ANALYZE):
        add_result(media_database, asset, stage)
    plan(media_database)

    facts = MediaFacts(100.0, True, True, True)
    lacking = [Stage.TRANSCRIBE, Stage.ENRICH]
    assert item(media_database, asset)["stages"] == lacking
    assert item(media_database, asset)["expected_s"] == item_work(facts, lacking, False, STARTING_RATES).expected_s


@pytest.mark.parametrize("wanted", [ANY, RENEWED], ids=["any", "renewed"])
def test_a_rejection_is_a_result_and_excuses_all_that_reads_it(media_database: Engine, wanted) -> None:
    not_media, silent, fails_later = (add_media(media_database, number) for number in range(3))
    add_result(media_database, not_media, Stage.PROBE, reason="not_media")
    for asset in (silent, fails_later):
        add_result(media_database, asset, Stage.PROBE)
    add_result(media_database, silent, Stage.EXTRACT, reason="no_audio")
    add_result(media_database, silent, Stage.ANALYZE)
    add_result(media_database, fails_later, Stage.EXTRACT, reason="no_audio")

    assert plan(media_database, wanted=wanted) == [fails_later]
    assert item(media_database, fails_later)["stages"] == [Stage.ANALYZE]


def test_a_rejection_that_is_not_current_excuses_nothing(media_database: Engine) -> None:
    asset = add_media(media_database, 0)
    add_result(media_database, asset, Stage.PROBE, OLD, reason="unsupported")
    add_result(media_database, asset, Stage.PROBE, NEW, day=1)
    assert plan(media_database) == [asset]

    backfill_id = add_backfill(media_database, "renewing")
    assert plan(media_database, wanted=RENEWED, backfill_id=backfill_id) == [asset]
    add_result(media_database, asset, Stage.PROBE, "2" * 24, reason="unsupported", day=2)
    assert plan(media_database, backfill_id=add_backfill(media_database, "rejected last")) == []


def test_what_is_in_a_shard_of_another_backfill_is_left_to_it_until_it_ends(media_database: Engine) -> None:
    asset = add_media(media_database, 0)
    other = add_backfill(media_database, "other")
    plan(media_database, backfill_id=other)
    shard_id = add_shard(media_database, other, "run", outcome=None)
    backfill_id = add_backfill(media_database)

    def settle(outcome: str | None) -> None:
        with media_database.begin() as connection:
            connection.execute(
                text("update backfill_item set shard_id = :shard, outcome = :outcome where backfill_id = :id"),
                {"shard": shard_id, "outcome": outcome, "id": other},
            )

    settle(None)
    assert plan(media_database, backfill_id=backfill_id) == []
    settle("failed")
    assert plan(media_database, backfill_id=backfill_id) == [asset]


@pytest.mark.parametrize(
    ("wait", "is_planned"), [(timedelta(hours=1), False), (timedelta(0), True), (None, False)], ids=str
)
def test_what_failed_waits_its_time_or_is_parked_unless_it_is_asked_for(
    media_database: Engine, wait: timedelta | None, is_planned: bool
) -> None:
    asset = add_media(media_database, 0)
    with media_database.begin() as connection:
        connection.execute(
            text("insert into asset_failure values (:id, 1, :failed_at, :not_before, 'broke')"),
            {"id": asset, "failed_at": NIGHT - timedelta(days=1), "not_before": None if wait is None else NIGHT + wait},
        )

    assert plan(media_database) == [asset] * is_planned
    asked_for = plan(
        media_database, BackfillScope(retry_parked=True), backfill_id=add_backfill(media_database, "asked")
    )
    assert asked_for == [asset]


@pytest.mark.parametrize(
    ("order", "expected"), [(Order.NEWEST, [3, 1, 2, 0]), (Order.OLDEST, [3, 0, 2, 1]), (Order.SHORTEST, [3, 1, 0, 2])]
)
def test_a_folder_goes_first_and_then_the_order_asked_for(
    media_database: Engine, order: Order, expected: list[int]
) -> None:
    add_media(media_database, 0, mtime_s=10, duration_s=20.0)
    add_media(media_database, 1, mtime_s=30, duration_s=10.0)
    # A copy makes it no newer than it was.
    add_media(media_database, 2, mtime_s=20, duration_s=30.0)
    add_media(media_database, 2, "copy.mp4", mtime_s=90)
    add_media(media_database, 3, "now/3.mp4", mtime_s=15, duration_s=99.0)
    scope = BackfillScope(order=order, first_folder="archive/now")

    assert plan(media_database, scope) == [asset_id(number) for number in expected]


def test_what_was_not_probed_is_reckoned_from_its_size_and_ending(media_database: Engine) -> None:
    asset = add_media(media_database, 0, "a.MP4", duration_s=None, size_bytes=1_000)
    add_media(media_database, 1, duration_s=50.0, has_video=False)
    backfill_id = add_backfill(media_database)
    plan(media_database, backfill_id=backfill_id, densities={".mp4": 10.0})

    facts = MediaFacts(100.0, False, True, True)
    expected_s = item_work(facts, Stage, False, STARTING_RATES).expected_s
    found = item(media_database, asset)
    assert (found["media_s"], found["is_media_s_known"], found["expected_s"]) == (100.0, False, expected_s)
    heard = item(media_database, asset_id(1))
    assert (heard["has_audio"], heard["has_video"]) == (True, False)
    totals = backlog_totals(media_database, backfill_id)
    assert (totals.assets, totals.guessed, totals.media_s, totals.guessed_media_s) == (2, 1, 150.0, 100.0)
    assert totals.expected_s == pytest.approx(expected_s + heard["expected_s"])


def test_totals_are_of_what_waits(media_database: Engine) -> None:
    add_media(media_database, 0)
    backfill_id = add_backfill(media_database)
    plan(media_database, backfill_id=backfill_id)
    shard_id = add_shard(media_database, backfill_id, "run", outcome=None)
    with media_database.begin() as connection:
        connection.execute(text("update backfill_item set shard_id = :id"), {"id": shard_id})

    assert backlog_totals(media_database, backfill_id) == BacklogTotals(0, 0, 0.0, 0.0, 0.0)


def test_plans_larger_than_a_batch_are_whole(media_database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "BATCH", 7)
    for number in range(20):
        add_media(media_database, number)

    assert len(plan(media_database)) == 20
