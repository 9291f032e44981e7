-- What a scan of the archive found, and what a night makes of it.

alter table media_location add column vanished_at timestamptz;
comment on column media_location.seen_at is 'When the file was last looked at and found new, changed or back; a scan that finds it unchanged leaves this as it is.';
comment on column media_location.vanished_at is 'When a scan first missed the file; null while it is there.';
create index media_location_there on media_location (root, path text_pattern_ops) where vanished_at is null;

create table archive_scan (
    scan_id bigint generated always as identity primary key,
    folders text[] not null,
    started_at timestamptz not null,
    finished_at timestamptz,
    files_found bigint not null default 0 check (files_found >= 0),
    files_unchanged bigint not null default 0 check (files_unchanged >= 0),
    files_hashed bigint not null default 0 check (files_hashed >= 0),
    bytes_hashed bigint not null default 0 check (bytes_hashed >= 0),
    files_known_content bigint not null default 0 check (files_known_content >= 0),
    files_being_written bigint not null default 0 check (files_being_written >= 0),
    files_rejected bigint not null default 0 check (files_rejected >= 0),
    files_vanished bigint not null default 0 check (files_vanished >= 0),
    files_returned bigint not null default 0 check (files_returned >= 0),
    is_complete boolean not null default false,
    message text not null default '',
    check (not is_complete or finished_at is not null)
);
comment on table archive_scan is 'A walk over folders of the archive, and what was new there.';
comment on column archive_scan.folders is 'root/path of each folder or file that was walked.';
comment on column archive_scan.files_known_content is 'Hashed at a new place, with content that the catalog had: renamed or copied.';
comment on column archive_scan.files_being_written is 'Changed a moment ago, so left for the next scan.';
comment on column archive_scan.files_returned is 'Had vanished, and are there again as they were.';
comment on column archive_scan.is_complete is 'Whether it came to the end; one that was stopped goes on where it was with the next.';

-- The archive by night.

create table backfill (
    backfill_id bigint generated always as identity primary key,
    dag_id text not null,
    run_id text not null,
    scope jsonb not null,
    wanted jsonb not null,
    opens_at timestamptz not null,
    closes_at timestamptz check (closes_at > opens_at),
    scan_id bigint references archive_scan,
    is_planned boolean not null default false,
    finished_at timestamptz,
    report jsonb,
    unique (dag_id, run_id)
);
create index backfill_opens on backfill (opens_at);
comment on table backfill is 'One night''s work, or one that a person asked for: what it is about and what came of it.';
comment on column backfill.scope is 'What was asked for (BackfillScope): folders, files, order, stages, device.';
comment on column backfill.wanted is 'By stage, the fingerprints of results that count as current; null: any result does.';
comment on column backfill.closes_at is 'After this nothing is launched. Null: it goes on until all is done.';
comment on column backfill.is_planned is 'Whether all that the scan found is in backfill_item.';
comment on column backfill.report is 'What came of it (BackfillReport), once it has ended.';

create table backfill_shard (
    shard_id bigint generated always as identity primary key,
    backfill_id bigint not null references backfill on delete cascade,
    dag_id text not null,
    run_id text not null,
    planned_at timestamptz not null,
    launched_at timestamptz,
    ended_at timestamptz,
    outcome text check (outcome in ('done', 'failed', 'left', 'withdrawn')),
    expected_s double precision not null check (expected_s >= 0),
    longest_s double precision not null check (longest_s >= expected_s),
    media_s double precision not null check (media_s >= 0),
    unique (dag_id, run_id),
    check ((ended_at is null) = (outcome is null))
);
create index backfill_shard_backfill on backfill_shard (backfill_id, ended_at);
comment on table backfill_shard is 'Assets that one run of process_media takes. Written before the run is asked for, so that none is lost or asked for twice.';
comment on column backfill_shard.launched_at is 'When Airflow had taken the run.';
comment on column backfill_shard.outcome is 'withdrawn: it was never launched. left: some of it was not come to.';
comment on column backfill_shard.expected_s is 'How long the run was expected to take.';
comment on column backfill_shard.longest_s is 'How long nine runs in ten were expected to take at most.';

create table backfill_item (
    backfill_id bigint not null references backfill on delete cascade,
    asset_id sha256_hex not null references media_asset on delete cascade,
    goes_first boolean not null,
    order_key double precision not null,
    media_s double precision not null check (media_s >= 0),
    is_media_s_known boolean not null,
    has_audio boolean not null,
    has_video boolean not null,
    stages text[] not null check (stages <> '{}'),
    expected_s double precision not null check (expected_s >= 0),
    shard_id bigint references backfill_shard,
    returns integer not null default 0 check (returns >= 0),
    outcome text check (outcome in ('done', 'rejected', 'failed')),
    message text not null default '',
    primary key (backfill_id, asset_id),
    check (outcome is null or shard_id is not null)
);
create unique index backfill_item_claimed on backfill_item (asset_id) where shard_id is not null and outcome is null;
create index backfill_item_waiting on backfill_item (backfill_id, goes_first desc, order_key, asset_id) where shard_id is null;
create index backfill_item_shard on backfill_item (shard_id);
comment on table backfill_item is 'An asset that a backfill is to process: waiting, in a shard, or ended. No asset is in two shards at a time.';
comment on column backfill_item.order_key is 'Lower goes first; what it measures depends on the order asked for.';
comment on column backfill_item.media_s is 'Length of the media, or what its size suggests while it has not been probed.';
comment on column backfill_item.stages is 'Those that lack a current result.';
comment on column backfill_item.returns is 'How often it came back from a run that did not come to it.';

create table asset_failure (
    asset_id sha256_hex primary key references media_asset on delete cascade,
    failures integer not null check (failures >= 1),
    failed_at timestamptz not null,
    not_before timestamptz,
    reason text not null
);
comment on table asset_failure is 'Assets that failed in backfills and have not succeeded since.';
comment on column asset_failure.not_before is 'When a backfill tries it again. Null: parked, only a person asks for it again.';

create table backfill_pause (
    pause_id bigint generated always as identity primary key,
    paused_at timestamptz not null,
    paused_by text not null,
    reason text not null,
    resumed_at timestamptz,
    resumed_by text,
    check ((resumed_at is null) = (resumed_by is null))
);
create unique index backfill_pause_active on backfill_pause ((true)) where resumed_at is null;
comment on table backfill_pause is 'Times in which backfills launch nothing and their running shards step aside. One at a time.';

-- Who runs now is asked every few seconds.

create index processing_run_running on processing_run (dag_id, started_at) where outcome = 'running';
create index stage_attempt_running on stage_attempt (dag_id, run_id) where outcome = 'running';

-- A stage that steps aside for urgent work waits, and a run may end with items that it did not come to.

comment on column processing_run.outcome is
    'done: no item failed or is left (rejected ones count as done). left: some were not come to. cancelled: Airflow ended it first.';
comment on column stage_attempt.outcome is
    'lost: the worker died without a word, and a later try or the end of its run found it so. moved: it handed its work to the CPU before it began. stepped_aside: it made room for urgent work or a pause, and goes on later.';

create or replace view phase_report as
select
    p.dag_id, p.run_id, p.task_id, p.map_index, p.try_number, p.sequence,
    a.stage, a.variant, a.device, a.models, a.compute_type, a.image, a.image_digest, a.outcome as attempt_outcome,
    p.phase, p.asset_id, p.started_at,
    p.started_at + p.span_s * interval '1 second' as ended_at,
    p.duration_s, p.span_s, p.outcome, p.counters, p.peak_rss_mib, p.peak_vram_mib,
    case
        when p.phase in ('queue', 'branch', 'lease', 'aside') then 'wait'
        when p.phase in ('task_start', 'prepare', 'container_start', 'collect', 'import', 'model_load') then 'overhead'
        else 'work'
    end as kind
from phase_timing as p
join stage_attempt as a using (dag_id, run_id, task_id, map_index, try_number);
comment on column phase_report.kind is 'wait: for a slot, a GPU, its VRAM, or urgent work. overhead: what a container costs before and after its work. work: the rest.';
