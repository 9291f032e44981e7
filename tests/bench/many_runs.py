"""Fills a database with the timings of many nights: assets, runs, attempts, phases, as stages leave them.

`tests.bench.page_speed` asks for the pages there.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, text

from operators.queries import query

DAG_ID = "process_media"
ASSETS_A_RUN = 20
LAST_NIGHT = datetime(2026, 11, 20, 22, tzinfo=UTC)


@dataclass(frozen=True)
class Extent:
    """How much to make. Each run takes twenty assets and has 459 phases."""

    assets: int = 10_000
    runs: int = 2_180
    nights: int = 60


# Fixed seconds, then seconds per second of media on the CPU; a GPU takes a fifth of the latter.
PLAN = """
    (1, 'find_assets', null, 'queue', false, 2.0, 0.0), (1, 'find_assets', null, 'register', false, 1.0, 0.0),
    (2, 'media_probe', 'media.probe', 'queue', false, 6.0, 0.0),
    (2, 'media_probe', 'media.probe', 'container_start', false, 0.8, 0.0),
    (2, 'media_probe', 'media.probe', 'probe', true, 0.2, 0.0001),
    (2, 'media_probe', 'media.probe', 'write', true, 0.01, 0.0),
    (3, 'media_extract', 'media.extract', 'queue', false, 9.0, 0.0),
    (3, 'media_extract', 'media.extract', 'container_start', false, 0.8, 0.0),
    (3, 'media_extract', 'media.extract', 'extract', true, 0.3, 0.004),
    (3, 'media_extract', 'media.extract', 'loudness', true, 0.1, 0.003),
    (3, 'media_extract', 'media.extract', 'write', true, 0.01, 0.0),
    (4, 'audio_transcribe', 'audio.transcribe', 'queue', false, 30.0, 0.0),
    (4, 'audio_transcribe', 'audio.transcribe', 'container_start', false, 0.9, 0.0),
    (4, 'audio_transcribe', 'audio.transcribe', 'import', false, 2.0, 0.0),
    (4, 'audio_transcribe', 'audio.transcribe', 'model_load', false, 5.0, 0.0),
    (4, 'audio_transcribe', 'audio.transcribe', 'decode', true, 0.1, 0.001),
    (4, 'audio_transcribe', 'audio.transcribe', 'vad', true, 0.1, 0.002),
    (4, 'audio_transcribe', 'audio.transcribe', 'language_detection', true, 0.5, 0.0),
    (4, 'audio_transcribe', 'audio.transcribe', 'transcription', true, 0.5, 0.3),
    (4, 'audio_transcribe', 'audio.transcribe', 'write', true, 0.02, 0.0),
    (5, 'vision_analyze', 'vision.analyze', 'queue', false, 20.0, 0.0),
    (5, 'vision_analyze', 'vision.analyze', 'container_start', false, 1.1, 0.0),
    (5, 'vision_analyze', 'vision.analyze', 'import', false, 4.0, 0.0),
    (5, 'vision_analyze', 'vision.analyze', 'model_load', false, 7.0, 0.0),
    (5, 'vision_analyze', 'vision.analyze', 'decode', true, 0.3, 0.03),
    (5, 'vision_analyze', 'vision.analyze', 'quality', true, 0.1, 0.004),
    (5, 'vision_analyze', 'vision.analyze', 'shot_detection', true, 0.1, 0.006),
    (5, 'vision_analyze', 'vision.analyze', 'clip', true, 0.2, 0.1),
    (5, 'vision_analyze', 'vision.analyze', 'detection', true, 0.2, 0.15),
    (5, 'vision_analyze', 'vision.analyze', 'ocr', true, 0.2, 0.08),
    (5, 'vision_analyze', 'vision.analyze', 'contact_sheet', true, 0.1, 0.0),
    (5, 'vision_analyze', 'vision.analyze', 'write', true, 0.05, 0.0),
    (6, 'nlp_enrich', 'nlp.enrich', 'queue', false, 5.0, 0.0),
    (6, 'nlp_enrich', 'nlp.enrich', 'container_start', false, 0.9, 0.0),
    (6, 'nlp_enrich', 'nlp.enrich', 'model_load', false, 3.0, 0.0),
    (6, 'nlp_enrich', 'nlp.enrich', 'entities', true, 0.1, 0.001),
    (6, 'nlp_enrich', 'nlp.enrich', 'key_phrases', true, 0.1, 0.0005),
    (6, 'nlp_enrich', 'nlp.enrich', 'sentiment', true, 0.1, 0.0005),
    (6, 'nlp_enrich', 'nlp.enrich', 'write', true, 0.01, 0.0),
    (7, 'publish', null, 'queue', false, 1.0, 0.0), (7, 'publish', null, 'publish', false, 4.0, 0.0)
"""

MAKE_ASSETS = """
insert into media_asset (asset_id, size_bytes, container, duration_s, has_audio, has_video)
select
    encode(sha256(convert_to('asset ' || n, 'UTF8')), 'hex'), 1000000 + n, 'mov,mp4', 20 + 900 * power(random(), 3),
    true, true
from generate_series(1, :assets) as n
on conflict do nothing;
insert into media_location (root, path, asset_id, size_bytes, mtime_ns, inode, seen_at)
select 'archive', format('%s/film %s.mp4', n / 100, n), encode(sha256(convert_to('asset ' || n, 'UTF8')), 'hex'),
    1000000 + n, n, n, now()
from generate_series(1, :assets) as n
on conflict do nothing;
"""

# Shards of a night run one after the other, each task of a run after the one before.
MAKE_PHASES = f"""
create temporary table made on commit drop as
with
part (step, task, stage, phase, is_of_item, fixed_s, per_media_s) as (values {PLAN}),
run as (
    select n, 'shard ' || lpad(n::text, 6, '0') as run_id, n % 2 = 0 as is_cuda,
        cast(:last as timestamptz) - (n % :nights) * interval '1 day' + (n / :nights) * interval '14 minutes'
            as began_at
    from generate_series(0, :runs - 1) as n
),
timed as (
    select
        r.n, r.run_id, r.began_at, p.step, p.stage, p.phase, item.asset_id, item.k,
        r.is_cuda and p.stage in ('audio.transcribe', 'vision.analyze') as is_cuda,
        p.task || case
            when p.stage not in ('audio.transcribe', 'vision.analyze') or p.stage is null then ''
            when r.is_cuda then '_gpu' else '_cpu'
        end as task_id,
        (p.fixed_s + p.per_media_s * coalesce(item.duration_s, 0) * case when r.is_cuda then 0.2 else 1 end)
            * (0.7 + 0.6 * random()) as duration_s,
        random() < 0.0005 as is_failed
    from run as r
    cross join part as p
    join lateral (
        select k, m.asset_id, m.duration_s
        from generate_series(1, {ASSETS_A_RUN}) as k
        join media_asset as m
            on m.asset_id = encode(sha256(convert_to(
                'asset ' || 1 + (r.n * {ASSETS_A_RUN} + k) % :assets, 'UTF8')), 'hex')
        where p.is_of_item
        union all
        select 0, null, null where not p.is_of_item
    ) as item on true
)
select
    *,
    row_number() over (partition by run_id, step order by k, phase) - 1 as sequence,
    sum(duration_s) over (partition by run_id order by step, k, phase) as ended_s
from timed;
"""  # noqa: S608 - made of what stands here
MAKE_RUNS = """
insert into processing_run (dag_id, run_id, parameters, queued_at, started_at, finished_at, outcome, covered_s)
select
    :dag_id, run_id, '{}', min(began_at), min(began_at), min(began_at) + max(ended_s) * interval '1 second',
    case when bool_or(is_failed) then 'failed' else 'done' end, max(ended_s)
from made
group by run_id;
insert into run_item (dag_id, run_id, root, path, asset_id, outcome)
select distinct :dag_id, m.run_id, l.root, l.path, m.asset_id, 'done'
from made as m
join media_location as l using (asset_id);
insert into stage_attempt (
    dag_id, run_id, task_id, map_index, try_number, stage, variant, device, models, compute_type, started_at,
    finished_at, outcome, items_done
)
select
    :dag_id, run_id, task_id, -1, 1, stage,
    case when stage is null then null when is_cuda then 'cuda' else 'cpu' end,
    case
        when stage is null then null
        when is_cuda then 'GPU-0000000' || n % 2 || '-1111-2222-3333-444455556666' else 'cpu'
    end,
    case stage
        when 'audio.transcribe' then '[{"role": "whisper", "name": "whisper-large-v3"}]'
        when 'vision.analyze' then '[{"role": "clip", "name": "vit-b-32"}, {"role": "detector", "name": "yolo11n"}]'
        else '[]'
    end::jsonb,
    case when stage is null then null when is_cuda then 'float16' else 'float32' end,
    min(began_at + (ended_s - duration_s) * interval '1 second') filter (where phase <> 'queue'),
    max(began_at + ended_s * interval '1 second'),
    case when bool_or(is_failed) then 'failed' else 'done' end,
    count(distinct asset_id)
from made
group by n, run_id, task_id, stage, is_cuda;
insert into phase_timing (
    dag_id, run_id, task_id, map_index, try_number, sequence, phase, asset_id, started_at, duration_s, span_s, outcome,
    counters, peak_rss_mib, peak_vram_mib
)
select
    :dag_id, run_id, task_id, -1, 1, sequence, phase, asset_id,
    began_at + (ended_s - duration_s) * interval '1 second', duration_s, duration_s,
    case when is_failed then 'failed' else 'done' end, jsonb_build_object('frames', k * 10), 300 + 10 * k,
    case when is_cuda then 2000 + 10 * k end
from made
order by run_id, step, sequence;
"""
# What `record_phases` counts phase by phase.
COUNT_UP = """
analyze;
insert into phase_count (
    night, part, phase, variant, device, model_names, compute_type, duration_bucket, occurrences, total_s
)
select night, part, phase, variant, device, model_names, compute_type, duration_bucket, count(*), sum(duration_s)
from phase_report
where dag_id = :dag_id and outcome = 'done'
group by night, part, phase, variant, device, model_names, compute_type, duration_bucket;
"""


def fill_runs(database: Engine, extent: Extent, last_night: datetime = LAST_NIGHT) -> int:
    """Make assets and the runs that took them, the same each time. `last_night` is when the last one opens.

    Asset n, from 1, lies at `archive/<n/100>/film <n>.mp4`; its id is the SHA-256 of `asset <n>`. Those that are there
    stay as they are. Runs can be made once. Returns the number of phases.
    """
    values = {
        "assets": extent.assets,
        "runs": extent.runs,
        "nights": extent.nights,
        "last": last_night,
        "dag_id": DAG_ID,
    }
    with database.begin() as connection:
        connection.execute(text("select setseed(0.5)"))
        # The rows refer to each other by construction; to look each of them up takes longer than to write it.
        connection.execute(text("set local session_replication_role = replica"))
        for statements in (MAKE_ASSETS, MAKE_PHASES, MAKE_RUNS, COUNT_UP):
            _run(connection, statements, values)
        _sum_up(connection)
        made = connection.execute(text("select count(*) from made")).scalar_one()
    with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))
    return int(made)


def _sum_up(connection: Connection) -> None:
    """As the end of a run does it."""
    runs = connection.execute(text("select run_id from processing_run where dag_id = :dag_id"), {"dag_id": DAG_ID})
    for run_id in runs.scalars().all():
        row = {"dag_id": DAG_ID, "run_id": run_id}
        connection.execute(query("sum_attempts"), row | {"task_id": None, "map_index": None, "try_number": None})
        connection.execute(query("sum_run_items"), row)


def _run(connection: Connection, statements: str, values: dict[str, object]) -> None:
    for statement in statements.split(";\n"):
        if statement.strip():
            connection.execute(text(statement), values)
