"""Nights and leases of GPUs, generated in Postgres: what the pages on backfills and devices are measured on."""

from sqlalchemy import Engine, text

NIGHTS = """
insert into backfill (dag_id, run_id, scope, wanted, opens_at, closes_at, is_planned, finished_at)
select 'archive_backfill', 'night ' || n, '{"folders": ["archive"]}', '{}',
    date_trunc('day', now()) - (:nights - n) * interval '1 day' + interval '20 hours',
    date_trunc('day', now()) - (:nights - n) * interval '1 day' + interval '30 hours',
    true, case when n < :nights then now() - (:nights - n) * interval '1 day' end
from generate_series(1, :nights) as n
"""
SHARDS = """
insert into backfill_shard (
    backfill_id, dag_id, run_id, planned_at, launched_at, ended_at, outcome, expected_s, longest_s, media_s
)
select backfill_id, 'process_media', format('%s shard %s', run_id, n), opens_at, opens_at, opens_at + interval '1 hour',
    'done', 900, 1200, 3600
from backfill
cross join generate_series(1, 40) as n
"""
# The last night is under way: every second of its assets is done.
ITEMS = """
insert into backfill_item (
    backfill_id, asset_id, goes_first, order_key, media_s, is_media_s_known, has_audio, has_video, stages, expected_s,
    shard_id, outcome
)
select b.backfill_id, m.asset_id, false, m.n, 60, true, true, true, '{audio.transcribe}', 60,
    case when m.n % 2 = 0 then (select max(shard_id) from backfill_shard as s where s.backfill_id = b.backfill_id) end,
    case when m.n % 2 = 0 then 'done' end
from (select asset_id, row_number() over (order by asset_id) as n from media_asset) as m
cross join (select max(backfill_id) as backfill_id from backfill) as b
"""
FAILURES = """
insert into asset_failure (asset_id, failures, failed_at, not_before, reason)
select asset_id, 1 + n % 4, now() - n * interval '1 minute', case when n % 4 < 3 then now() end,
    'audio.transcribe: killed'
from (select asset_id, row_number() over (order by asset_id) as n from media_asset limit 2000) as m
"""
LEASES = """
insert into gpu_lease (
    dag_id, run_id, task_id, map_index, stage, models, compute_type, batch_size, need_mib, priority, container_name,
    asked_at, renewed_at, device_uuid, leased_mib, capacity_mib, foreign_mib, is_trial, granted_at, container_id,
    peak_mib, ended_at, ending
)
select 'process_media', 'lease ' || n, 'audio_transcribe_gpu', -1, 'audio.transcribe', 'whisper-large-v3', 'float16', 8,
    4000, 1, 'lease-' || n, at, at + interval '9 minutes', (cast(:devices as text[]))[1 + n % 2], 4096, 24000, 0, false,
    at + interval '10 seconds', 'c' || n, 3900, at + interval '9 minutes', 'released'
from (
    select n, now() - n * interval '3 minutes' - interval '10 minutes' as at from generate_series(1, :leases) as n
) as lease
"""


def fill_nights(database: Engine, nights: int) -> None:
    """Add nights, of which the last is under way with all assets of the catalog, and 2,000 failures."""
    with database.begin() as connection:
        connection.execute(text(NIGHTS), {"nights": nights})
        for statement in (SHARDS, ITEMS, FAILURES):
            connection.execute(text(statement))
    _analyze(database)


def fill_leases(database: Engine, devices: tuple[str, str], leases: int) -> int:
    """Add leases of two devices, one after the other until now; returns how many."""
    with database.begin() as connection:
        made = connection.execute(text(LEASES), {"devices": list(devices), "leases": leases}).rowcount
    _analyze(database)
    return made


def _analyze(database: Engine) -> None:
    with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("analyze"))
