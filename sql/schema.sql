-- The database "media" as the migrations leave it: read this file, run the migrations. A test compares the two.
-- Instants are UTC. Suffixes are units: _s seconds, _ms milliseconds, _ns nanoseconds, _mib MiB, _px pixels.

create table schema_migration (
    version integer primary key,
    name text not null,
    applied_at timestamptz not null default now()
);

-- Media assets and where they lie.

create domain sha256_hex as text check (value ~ '^[0-9a-f]{64}$');
create domain fingerprint_hex as text check (value ~ '^[0-9a-f]{24}$');
create domain stage_name as text check (
    value in ('media.probe', 'media.extract', 'audio.transcribe', 'vision.analyze', 'nlp.enrich')
);
create domain variant_name as text check (value in ('cpu', 'cuda'));
create domain rejection_reason as text check (
    value in (
        'empty', 'not_media', 'corrupt', 'playlist', 'unsupported', 'encrypted', 'too_large', 'zero_duration',
        'no_audio', 'no_video', 'outside_archive', 'not_a_file', 'vanished', 'changed', 'unreadable'
    )
);
create domain share as double precision check (value between -0.001 and 1.001);
comment on domain share is '0 to 1; a little more or less is rounding of single-precision numbers.';

create function length_s(spans tstzmultirange) returns double precision
language sql immutable parallel safe
return (select coalesce(sum(extract(epoch from upper(span) - lower(span))), 0) from unnest(spans) as span);
comment on function length_s is 'Seconds that the ranges hold together; 0 for none and for null.';

comment on table schema_migration is 'Migrations applied, each in the transaction that inserted its row first.';

create table media_asset (
    asset_id sha256_hex primary key,
    size_bytes bigint not null check (size_bytes >= 0),
    first_seen_at timestamptz not null default now(),
    container text,
    duration_s double precision check (duration_s >= 0),
    has_audio boolean,
    has_video boolean,
    probe jsonb
);
comment on table media_asset is 'One source file by content. Files with equal bytes are one asset.';
comment on column media_asset.asset_id is 'SHA-256 of the content, hex digits in lower case.';
comment on column media_asset.container is 'The demuxer''s name. Null, like the columns after it, until media.probe is published.';
comment on column media_asset.has_video is 'Whether there is a video stream other than a cover picture.';
comment on column media_asset.probe is 'The whole output of media.probe (ProbeOutput).';

create table media_location (
    root text not null check (root <> ''),
    path text not null check (path <> ''),
    asset_id sha256_hex references media_asset on delete cascade,
    size_bytes bigint check (size_bytes >= 0),
    mtime_ns numeric(30),
    inode numeric(20),
    seen_at timestamptz not null,
    rejection_reason rejection_reason,
    rejection_message text,
    vanished_at timestamptz,
    primary key (root, path),
    check ((asset_id is null) = (rejection_reason is not null)),
    check ((rejection_reason is null) = (rejection_message is null)),
    check (asset_id is null or (size_bytes is not null and mtime_ns is not null and inode is not null))
);
create index media_location_asset on media_location (asset_id);
create index media_location_there on media_location (root, path text_pattern_ops) where vanished_at is null;
comment on table media_location is 'A file name that was looked at: the asset it holds, or why it could not be registered.';
comment on column media_location.root is 'Name of a folder of media, such as archive or inbox.';
comment on column media_location.path is 'Relative to the root.';
comment on column media_location.mtime_ns is 'Modification time, ns since 1970. With size and inode it tells whether to hash again.';
comment on column media_location.inode is 'Up to 64 bits without a sign, more than bigint holds.';
comment on column media_location.seen_at is 'When the file was last looked at and found new, changed or back; a scan that finds it unchanged leaves this as it is.';
comment on column media_location.vanished_at is 'When a scan first missed the file; null while it is there.';

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

-- GPUs: who has VRAM, which devices are out of service, and where each stage runs.

create table gpu_lease (
    lease_id bigint generated always as identity primary key,
    dag_id text not null,
    run_id text not null,
    task_id text not null,
    map_index integer not null check (map_index >= -1),
    stage stage_name not null,
    models text not null,
    compute_type text not null,
    batch_size integer not null check (batch_size >= 1),
    need_mib integer not null check (need_mib >= 0),
    priority integer not null,
    container_name text not null,
    asked_at timestamptz not null,
    renewed_at timestamptz not null,
    device_uuid text,
    leased_mib integer,
    capacity_mib integer,
    foreign_mib integer,
    is_trial boolean,
    granted_at timestamptz,
    container_id text,
    peak_mib integer check (peak_mib >= 0),
    ended_at timestamptz,
    ending text check (ending in ('released', 'reclaimed', 'withdrawn')),
    check (num_nulls(device_uuid, leased_mib, capacity_mib, foreign_mib, is_trial, granted_at) in (0, 6)),
    check (leased_mib between need_mib and capacity_mib and foreign_mib >= 0),
    check ((ended_at is null) = (ending is null))
);
create unique index gpu_lease_active on gpu_lease (dag_id, run_id, task_id, map_index) where ended_at is null;
create index gpu_lease_device on gpu_lease (device_uuid, granted_at);
create index gpu_lease_ended on gpu_lease (ended_at) where device_uuid is not null;
create index gpu_lease_measured on gpu_lease (stage, models, compute_type, batch_size, ended_at) where peak_mib > 0;
comment on table gpu_lease is 'A task''s claim on the VRAM of one device: waiting, granted, ended. Rows are kept: they are the log.';
comment on column gpu_lease.models is 'Names of the models that take part, in alphabetical order, joined by "+".';
comment on column gpu_lease.need_mib is 'What the work was reckoned to take when the lease was asked for.';
comment on column gpu_lease.priority is 'The task''s; of two that wait, the higher goes first, then the older.';
comment on column gpu_lease.renewed_at is 'When the task last said that it lives.';
comment on column gpu_lease.device_uuid is 'Null, like the five columns after it, until the lease is granted.';
comment on column gpu_lease.leased_mib is 'What was granted: the need, or all that was free where a lease takes a whole device.';
comment on column gpu_lease.capacity_mib is 'The device''s VRAM less the reserve.';
comment on column gpu_lease.foreign_mib is 'What processes without a lease took of the device then.';
comment on column gpu_lease.is_trial is 'Whether it tries a device whose breaker is half-open.';
comment on column gpu_lease.peak_mib is 'The most that the container was seen to take.';
comment on column gpu_lease.ending is 'released: by its task. reclaimed: its task died. withdrawn: given up while waiting.';

create table gpu_breaker (
    device_uuid text primary key,
    state text not null check (state in ('closed', 'open', 'half_open')),
    wait_s double precision not null check (wait_s >= 0),
    opened_at timestamptz,
    half_opens_at timestamptz,
    trial_lease_id bigint references gpu_lease,
    reason text not null,
    changed_at timestamptz not null,
    changed_by text not null,
    check ((state = 'closed') = (opened_at is null)),
    check (half_opens_at is null or state = 'open'),
    check (trial_lease_id is null or state = 'half_open')
);
comment on table gpu_breaker is 'Whether work may go to a device. A device without a row never failed: it may.';
comment on column gpu_breaker.wait_s is 'How long it was last opened for; doubles with each trial that fails.';
comment on column gpu_breaker.half_opens_at is 'While it is open: when a trial may begin. Null: only a person closes it.';
comment on column gpu_breaker.trial_lease_id is 'The lease of the trial under way.';
comment on column gpu_breaker.changed_by is 'nightreel, or the user who changed it by hand.';

create table gpu_breaker_change (
    change_id bigint generated always as identity primary key,
    device_uuid text not null references gpu_breaker,
    changed_at timestamptz not null,
    state_before text not null check (state_before in ('closed', 'open', 'half_open')),
    state_after text not null check (state_after in ('closed', 'open', 'half_open')),
    reason text not null,
    changed_by text not null
);
create index gpu_breaker_change_device on gpu_breaker_change (device_uuid, changed_at);
comment on table gpu_breaker_change is 'Every change of a breaker: who, when, why. The beginning and end of a trial are changes too.';

create table gpu_event (
    device_uuid text not null,
    occurred_at timestamptz not null,
    xid integer not null check (xid >= 0),
    severity text not null check (severity in ('application', 'watch', 'device')),
    seen_at timestamptz not null default now(),
    primary key (device_uuid, occurred_at, xid)
);
comment on table gpu_event is 'Errors that the driver reported about a device (Xids).';
comment on column gpu_event.severity is 'Whose fault it tells of. Only those of the device open its breaker.';

create table stage_routing (
    stage stage_name primary key,
    policy text not null check (policy in ('auto', 'cpu', 'gpu')),
    changed_at timestamptz not null,
    changed_by text not null,
    reason text not null
);
comment on table stage_routing is 'Where a stage runs from its next task on. A stage without a row: auto.';

create table stage_routing_change (
    change_id bigint generated always as identity primary key,
    stage stage_name not null references stage_routing,
    changed_at timestamptz not null,
    policy_before text not null check (policy_before in ('auto', 'cpu', 'gpu')),
    policy_after text not null check (policy_after in ('auto', 'cpu', 'gpu')),
    changed_by text not null,
    reason text not null
);
comment on table stage_routing_change is 'Every change of the routing: who, when, why.';

-- Runs, their items, attempts at tasks, and how long each phase took.

create table processing_run (
    dag_id text not null,
    run_id text not null,
    parameters jsonb not null default '{}',
    queued_at timestamptz,
    started_at timestamptz not null,
    finished_at timestamptz,
    outcome text not null check (outcome in ('running', 'done', 'failed', 'left', 'cancelled')),
    covered_s double precision check (covered_s >= 0),
    primary key (dag_id, run_id),
    check ((outcome = 'running') = (finished_at is null))
);
create index processing_run_started on processing_run (started_at);
create index processing_run_running on processing_run (dag_id, started_at) where outcome = 'running';
comment on table processing_run is 'One Airflow DAG run: one shard of assets.';
comment on column processing_run.queued_at is 'When Airflow created the run. A run that was cleared has the times of its last go.';
comment on column processing_run.outcome is
    'done: no item failed or is left (rejected ones count as done). left: some were not come to. cancelled: Airflow ended it first.';
comment on column processing_run.covered_s is 'How much of the time from its request to its end phases account for; so far, while it goes on.';

create table run_item (
    dag_id text not null,
    run_id text not null,
    root text not null,
    path text not null,
    asset_id sha256_hex references media_asset on delete set null,
    outcome text not null check (outcome in ('pending', 'done', 'rejected', 'failed', 'left')),
    reason rejection_reason,
    message text not null default '',
    work_s double precision not null default 0 check (work_s >= 0),
    media_s double precision check (media_s >= 0),
    primary key (dag_id, run_id, root, path),
    foreign key (dag_id, run_id) references processing_run on delete cascade,
    check ((outcome = 'rejected') = (reason is not null))
);
create index run_item_asset on run_item (asset_id);
comment on table run_item is 'A file that a run was asked to process, and what became of it.';
comment on column run_item.path is 'Relative to the root. Bytes that are not UTF-8 are written \xNN.';
comment on column run_item.asset_id is 'Null when the file could not be registered, or the asset was deleted since.';
comment on column run_item.work_s is 'Time of all work on the asset in this run: in each attempt the union of spans, summed over attempts when the run ends.';
comment on column run_item.media_s is 'Length of the asset, as it was known then.';

create table stage_attempt (
    dag_id text not null,
    run_id text not null,
    task_id text not null,
    map_index integer not null check (map_index >= -1),
    try_number integer not null check (try_number >= 1),
    stage stage_name,
    variant variant_name,
    device text,
    image text,
    image_digest text,
    models jsonb not null default '[]',
    compute_type text,
    container_id text,
    joined_try_number integer,
    upstream_finished_at timestamptz,
    started_at timestamptz not null,
    finished_at timestamptz,
    outcome text not null check (
        outcome in (
            'running', 'done', 'rejected', 'reused', 'stepped_aside', 'failed', 'device_failed', 'transient', 'lost',
            'cancelled', 'moved'
        )
    ),
    exit_code integer,
    message text not null default '',
    items_done integer not null default 0 check (items_done >= 0),
    items_reused integer not null default 0 check (items_reused >= 0),
    items_rejected integer not null default 0 check (items_rejected >= 0),
    items_failed integer not null default 0 check (items_failed >= 0),
    items_left integer not null default 0 check (items_left >= 0),
    lease_id bigint references gpu_lease,
    wait_s double precision not null default 0 check (wait_s >= 0),
    overhead_s double precision not null default 0 check (overhead_s >= 0),
    work_s double precision not null default 0 check (work_s >= 0),
    media_s double precision not null default 0 check (media_s >= 0),
    primary key (dag_id, run_id, task_id, map_index, try_number),
    foreign key (dag_id, run_id) references processing_run on delete cascade,
    check (joined_try_number < try_number),
    check ((outcome = 'running') = (finished_at is null))
);
create index stage_attempt_stage on stage_attempt (stage, variant, device, started_at);
create index stage_attempt_task on stage_attempt (dag_id, task_id, started_at);
create index stage_attempt_running on stage_attempt (dag_id, run_id) where outcome = 'running';
create index stage_attempt_finished on stage_attempt (finished_at);
create index stage_attempt_recent on stage_attempt (stage, variant, started_at) where outcome = 'done';
comment on table stage_attempt is 'One attempt at one task of a run, whether it starts a container or not.';
comment on column stage_attempt.map_index is '-1 for a task that is not mapped.';
comment on column stage_attempt.stage is 'Null for tasks without a container, such as find_assets and publish.';
comment on column stage_attempt.device is 'cpu, or the UUID of a GPU or MIG slice.';
comment on column stage_attempt.models is 'The models that took part (list of ModelRef).';
comment on column stage_attempt.joined_try_number is 'The earlier try whose running container this one took over.';
comment on column stage_attempt.upstream_finished_at is 'When the last task before this one ended; the wait for a slot runs from here.';
comment on column stage_attempt.outcome is
    'lost: the worker died without a word, and a later try or the end of its run found it so. moved: it handed its work to the CPU before it began. stepped_aside: it made room for urgent work or a pause, and goes on later.';
comment on column stage_attempt.lease_id is 'The claim on a GPU under which it ran.';
comment on column stage_attempt.wait_s is 'Time of its phases of that kind, like the column after it, summed as they are recorded.';
comment on column stage_attempt.work_s is 'Length of the union of the spans of each asset''s phases of kind work, summed over assets.';
comment on column stage_attempt.media_s is 'Length of the media whose phases all ended in order, as far as it is known.';

create table device_choice (
    dag_id text not null,
    run_id text not null,
    task_id text not null,
    map_index integer not null check (map_index >= -1),
    try_number integer not null check (try_number >= 1),
    stage stage_name not null,
    branch text not null check (branch in ('gpu', 'cpu')),
    reason text not null check (reason <> ''),
    need_mib integer not null check (need_mib >= 0),
    waited_s double precision not null check (waited_s >= 0),
    policy text not null check (policy in ('auto', 'cpu', 'gpu')),
    devices jsonb not null default '[]',
    decided_at timestamptz not null,
    primary key (dag_id, run_id, task_id, map_index, try_number),
    foreign key (dag_id, run_id) references processing_run on delete cascade
);
create index device_choice_stage on device_choice (stage, decided_at);
comment on table device_choice is 'Whether a stage of a run went to the GPU or to the CPU, and why.';
comment on column device_choice.task_id is 'The task that decided.';
comment on column device_choice.reason is 'One sentence for a person.';
comment on column device_choice.waited_s is 'How long a usable GPU was waited for.';
comment on column device_choice.policy is 'What was in force: the run''s own wish, else the routing.';
comment on column device_choice.devices is 'How each device stood then (list of DeviceStanding).';

create table phase_timing (
    dag_id text not null,
    run_id text not null,
    task_id text not null,
    map_index integer not null,
    try_number integer not null,
    sequence integer not null check (sequence >= 0),
    phase text not null check (phase ~ '^[a-z][a-z_]*$'),
    asset_id sha256_hex,
    started_at timestamptz not null,
    duration_s double precision not null check (duration_s >= 0),
    span_s double precision not null check (span_s >= 0),
    outcome text not null check (outcome in ('done', 'failed', 'interrupted')),
    counters jsonb not null default '{}',
    peak_rss_mib double precision check (peak_rss_mib >= 0),
    peak_vram_mib double precision check (peak_vram_mib >= 0),
    primary key (dag_id, run_id, task_id, map_index, try_number, sequence),
    foreign key (dag_id, run_id, task_id, map_index, try_number) references stage_attempt on delete cascade,
    unique nulls not distinct (dag_id, run_id, task_id, map_index, try_number, phase, asset_id, started_at)
);
create index phase_timing_phase on phase_timing (phase, started_at);
create index phase_timing_asset on phase_timing (asset_id);
comment on table phase_timing is 'One finished phase of an attempt. Phase, asset and start together tell records apart.';
comment on column phase_timing.sequence is 'Order in which the records arrived, from 0, with gaps.';
comment on column phase_timing.phase is 'A word of stage_contract.vocabulary.Phase. Only its form is checked: new images bring new phases.';
comment on column phase_timing.asset_id is 'Null when the shard shares the phase. No foreign key: the time was spent even if the asset is deleted.';
comment on column phase_timing.duration_s is 'Time worked, monotonic clock.';
comment on column phase_timing.span_s is 'From the first start to the last end; longer when the phase came in turns with others.';
comment on column phase_timing.counters is 'What was done in that time: frames, audio_s, tokens.';

create view phase_report as
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
    end as kind,
    coalesce(a.stage, a.task_id) as part,
    array_to_string(array(select model ->> 'name' from jsonb_array_elements(a.models) as model order by 1), '+')
        as model_names,
    ((p.started_at at time zone 'UTC') - interval '12 hours')::date as night,
    floor(ln(greatest(p.duration_s, 0.001)) / ln(1.1::double precision))::integer as duration_bucket,
    tstzrange(p.started_at, p.started_at + p.span_s * interval '1 second', '[)') as span
from phase_timing as p
join stage_attempt as a using (dag_id, run_id, task_id, map_index, try_number);
comment on view phase_report is 'Phases with the variant, device, models and compute type of their attempt.';
comment on column phase_report.kind is 'wait: for a slot, a GPU, its VRAM, or urgent work. overhead: what a container costs before and after its work. work: the rest.';
comment on column phase_report.part is 'The stage, or the task where there is none.';
comment on column phase_report.model_names is 'Names of the models that took part, in alphabetical order, joined by "+".';
comment on column phase_report.night is 'The date on which it began, where days begin at noon, UTC.';
comment on column phase_report.duration_bucket is 'b: the phase took from 1.1^b to 1.1^(b+1) seconds; shorter ones than a millisecond are with it.';
comment on column phase_report.span is 'From started_at to ended_at. Spans of one asset overlap where its phases come in turns, or go on side by side.';

create table phase_count (
    night date not null,
    part text not null,
    phase text not null,
    variant variant_name,
    device text,
    model_names text not null,
    compute_type text,
    duration_bucket integer not null,
    occurrences bigint not null check (occurrences >= 1),
    total_s double precision not null check (total_s >= 0),
    unique nulls not distinct (night, part, phase, variant, device, model_names, compute_type, duration_bucket)
);
comment on table phase_count is 'How often phases that ended in order took how long: the columns of phase_report, counted as phases are recorded. Percentiles are read from it, at most 10 % off, at most 5 % by a bucket''s middle.';
comment on column phase_count.variant is 'Like the columns after it, as it was known when the phase was recorded.';

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

-- What the stages made of each asset, by fingerprint, and which of it the content tables hold.

create table stage_result (
    asset_id sha256_hex not null references media_asset on delete cascade,
    stage stage_name not null,
    fingerprint fingerprint_hex not null,
    status text not null check (status in ('done', 'rejected')),
    reason rejection_reason,
    message text,
    stage_version text not null,
    variant variant_name not null,
    compute_type text not null,
    models jsonb not null,
    parameters jsonb not null,
    inputs jsonb not null,
    files jsonb not null,
    task jsonb not null,
    finished_at timestamptz not null,
    published_at timestamptz not null default now(),
    primary key (asset_id, stage, fingerprint),
    check ((status = 'rejected') = (reason is not null)),
    check ((reason is null) = (message is null))
);
create index stage_result_published on stage_result (published_at);
create index stage_result_rejected on stage_result (stage, reason) where status = 'rejected';
comment on table stage_result is 'Every result that was ever published, done or rejected. Its files lie at assets/<asset_id>/<stage>/<fingerprint>/.';
comment on column stage_result.fingerprint is 'Hash of all that decides the output: stage version, models, compute type, parameters, inputs.';
comment on column stage_result.inputs is 'Fingerprints of the results that were read, by stage.';
comment on column stage_result.files is 'Name, size and SHA-256 of each file (list of OutputFile).';
comment on column stage_result.task is 'The attempt that made it (TaskKey).';

create table current_result (
    asset_id sha256_hex not null references media_asset on delete cascade,
    stage stage_name not null,
    fingerprint fingerprint_hex not null,
    primary key (asset_id, stage),
    foreign key (asset_id, stage, fingerprint) references stage_result on delete cascade
);
comment on table current_result is
    'The result whose content the content tables hold; a rejection only where no good result was ever published.';

-- Searchable content of the current results. Times are seconds from the start of the media, intervals half-open.
-- Text is indexed up to 100,000 characters, since a tsvector holds 1 MB at most.
-- What a frame holds refers to the analysis, not to the frame: replacing an analysis then deletes each table's
-- rows at once, where a reference to the frame would search every table once per frame.

create table extracted_audio (
    asset_id sha256_hex primary key references media_asset on delete cascade,
    stream_index integer not null,
    sample_rate_hz integer not null check (sample_rate_hz > 0),
    duration_s double precision not null check (duration_s >= 0),
    integrated_lufs double precision,
    loudness_range_lu double precision,
    true_peak_dbtp double precision
);
comment on table extracted_audio is 'The sound track that media.extract took. Loudness after EBU R128, null when all is silence.';

create table transcript (
    asset_id sha256_hex primary key references media_asset on delete cascade,
    language text,
    language_probability share,
    duration_s double precision not null check (duration_s >= 0),
    speech_duration_s double precision not null check (speech_duration_s >= 0),
    text text not null,
    search tsvector not null generated always as (to_tsvector('simple', left(text, 100000))) stored
);
create index transcript_language on transcript (language);
create index transcript_search on transcript using gin (search);
comment on table transcript is 'What is said in an asset.';
comment on column transcript.text is 'The segments'' texts, joined by spaces.';
comment on column transcript.search is 'The first 100,000 characters, about two hours of speech. Segments are indexed without end.';

create table transcript_segment (
    asset_id sha256_hex not null references transcript on delete cascade,
    segment_index integer not null check (segment_index >= 0),
    start_s double precision not null check (start_s >= 0),
    end_s double precision not null,
    text text not null,
    mean_log_probability double precision not null,
    no_speech_probability share not null,
    words jsonb not null,
    search tsvector not null generated always as (to_tsvector('simple', left(text, 100000))) stored,
    primary key (asset_id, segment_index),
    check (end_s >= start_s)
);
create index transcript_segment_search on transcript_segment using gin (search);
comment on table transcript_segment is 'One utterance.';
comment on column transcript_segment.words is 'List of Word: start_s, end_s, text with its leading space, probability.';

create table vision_analysis (
    asset_id sha256_hex primary key references media_asset on delete cascade,
    stream_index integer not null,
    width_px integer not null check (width_px > 0),
    height_px integer not null check (height_px > 0),
    interval_s double precision not null check (interval_s > 0),
    frame_count integer not null check (frame_count >= 0),
    detector_model text not null,
    embedding_model text not null,
    embedding_dimensions integer not null check (embedding_dimensions >= 0),
    embedding_trained boolean not null
);
comment on table vision_analysis is 'What vision.analyze looked at, and with which models.';
comment on column vision_analysis.interval_s is 'Spacing of the sampled frames.';

create table shot (
    asset_id sha256_hex not null references vision_analysis on delete cascade,
    shot_index integer not null check (shot_index >= 0),
    start_s double precision not null check (start_s >= 0),
    end_s double precision not null,
    primary key (asset_id, shot_index),
    check (end_s >= start_s)
);
comment on table shot is 'A run of frames between two cuts.';

create table frame (
    asset_id sha256_hex not null references vision_analysis on delete cascade,
    frame_index integer not null check (frame_index >= 0),
    time_s double precision not null check (time_s >= 0),
    shot_index integer not null,
    brightness double precision not null,
    contrast double precision not null,
    sharpness double precision not null,
    colors jsonb not null,
    primary key (asset_id, frame_index),
    foreign key (asset_id, shot_index) references shot on delete cascade
);
create index frame_shot on frame (asset_id, shot_index);
comment on table frame is 'One sampled frame.';
comment on column frame.brightness is 'Mean luma, 0 to 255.';
comment on column frame.contrast is 'Standard deviation of luma.';
comment on column frame.sharpness is 'Variance of the Laplacian of luma.';
comment on column frame.colors is 'Dominant colours: list of hex (#rrggbb) and share (0 to 1).';

create table detection (
    asset_id sha256_hex not null references vision_analysis on delete cascade,
    frame_index integer not null,
    detection_index integer not null check (detection_index >= 0),
    label text not null,
    confidence share not null,
    x_px double precision not null,
    y_px double precision not null,
    width_px double precision not null,
    height_px double precision not null,
    primary key (asset_id, frame_index, detection_index)
);
create index detection_label on detection (label, confidence desc);
comment on table detection is 'An object found in a frame. The box is in pixels of the displayed frame, origin top left.';

create table frame_tag (
    asset_id sha256_hex not null references vision_analysis on delete cascade,
    frame_index integer not null,
    label text not null,
    score share not null,
    primary key (asset_id, frame_index, label)
);
create index frame_tag_label on frame_tag (label, score desc);
comment on table frame_tag is 'A zero-shot label of a frame; score is the softmax over the labels asked.';

create table frame_text (
    asset_id sha256_hex not null references vision_analysis on delete cascade,
    frame_index integer not null,
    line_index integer not null check (line_index >= 0),
    text text not null,
    confidence share not null,
    x_px double precision not null,
    y_px double precision not null,
    width_px double precision not null,
    height_px double precision not null,
    search tsvector not null generated always as (to_tsvector('simple', left(text, 100000))) stored,
    primary key (asset_id, frame_index, line_index)
);
create index frame_text_search on frame_text using gin (search);
comment on table frame_text is 'A line of text read in a frame.';

create table frame_embedding (
    asset_id sha256_hex not null references vision_analysis on delete cascade,
    frame_index integer not null,
    model text not null,
    dimensions integer not null,
    trained boolean not null,
    vector real[] not null,
    primary key (asset_id, frame_index),
    check (cardinality(vector) = dimensions)
);
comment on table frame_embedding is 'The L2-normalized vector of a frame.';
comment on column frame_embedding.trained is 'False when the model had no weights: such vectors time the work and find nothing.';

create table enrichment (
    asset_id sha256_hex primary key references media_asset on delete cascade,
    language text,
    entity_engine text not null,
    sentiment_engine text not null
);
comment on table enrichment is 'What nlp.enrich found in the current transcript. Withdrawn when another transcript takes its place.';
comment on column enrichment.sentiment_engine is 'A lexicon and a network do not mean the same by a score.';

create table entity (
    asset_id sha256_hex not null references enrichment on delete cascade,
    entity_index integer not null check (entity_index >= 0),
    segment_index integer not null check (segment_index >= 0),
    start_offset integer not null check (start_offset >= 0),
    end_offset integer not null,
    text text not null,
    label text not null,
    primary key (asset_id, entity_index),
    check (end_offset >= start_offset)
);
create index entity_text on entity (left(lower(text), 200) text_pattern_ops, label);
create index entity_label on entity (label);
comment on table entity is 'A named thing in a segment. Offsets count characters in the segment''s text, half-open.';

create table key_phrase (
    asset_id sha256_hex not null references enrichment on delete cascade,
    phrase_index integer not null check (phrase_index >= 0),
    text text not null,
    score double precision not null,
    occurrences integer not null check (occurrences >= 0),
    primary key (asset_id, phrase_index)
);
create index key_phrase_text on key_phrase (left(lower(text), 200) text_pattern_ops);
comment on table key_phrase is 'A phrase that says what the asset is about; a higher score tells more.';

create table sentiment (
    asset_id sha256_hex not null references enrichment on delete cascade,
    segment_index integer check (segment_index >= 0),
    label text not null check (label in ('negative', 'neutral', 'positive')),
    score double precision not null check (score between -1.001 and 1.001),
    unique nulls not distinct (asset_id, segment_index)
);
comment on table sentiment is 'Tone of a segment, or of the whole where segment_index is null. Score from -1 to 1.';

-- Benchmarks: the same media through several variants of the stages, in turns.

create table benchmark (
    benchmark_id bigint generated always as identity primary key,
    dag_id text not null,
    run_id text not null,
    name text not null check (name <> ''),
    repeats integer not null check (repeats >= 1),
    media jsonb not null,
    machine jsonb not null,
    started_at timestamptz not null,
    finished_at timestamptz,
    outcome text not null check (outcome in ('running', 'done', 'regressed')),
    message text not null default '',
    baseline_id bigint references benchmark on delete set null,
    marked_at timestamptz,
    marked_by text,
    unique (dag_id, run_id),
    foreign key (dag_id, run_id) references processing_run on delete cascade,
    check ((outcome = 'running') = (finished_at is null)),
    check ((marked_at is null) = (marked_by is null))
);
create index benchmark_name on benchmark (name, benchmark_id);
create unique index benchmark_marked on benchmark ((true)) where marked_at is not null;
comment on table benchmark is 'One run of benchmark_devices.';
comment on column benchmark.repeats is 'Rounds that count, after one to warm up.';
comment on column benchmark.media is 'What was processed: list of asset_id, source, duration_s.';
comment on column benchmark.machine is 'Where it ran (Machine).';
comment on column benchmark.outcome is 'regressed: slower than the baseline by more than the spread.';
comment on column benchmark.baseline_id is 'The earlier benchmark that it was held against.';
comment on column benchmark.marked_at is 'When a person made it the baseline of those that name none; of one at a time.';

create table benchmark_variant (
    benchmark_id bigint not null references benchmark on delete cascade,
    variant_index integer not null check (variant_index >= 0),
    name text not null check (name <> ''),
    outcome text not null check (outcome in ('measured', 'wrong', 'failed')),
    message text not null default '',
    builds jsonb not null,
    primary key (benchmark_id, variant_index)
);
comment on table benchmark_variant is 'One way to run stages, as a benchmark measured it.';
comment on column benchmark_variant.outcome is 'wrong: its outputs differ from the reference by more than is tolerated, however fast it is. failed: it could not be measured.';
comment on column benchmark_variant.builds is 'By stage how it ran (list of Build): build, compute type, batch size, device, image, models.';

create table benchmark_timing (
    benchmark_id bigint not null,
    variant_index integer not null,
    round integer not null check (round >= 0),
    stage stage_name not null,
    phase text not null,
    asset_id sha256_hex,
    seconds double precision not null check (seconds >= 0),
    peak_rss_mib double precision check (peak_rss_mib >= 0),
    peak_vram_mib double precision check (peak_vram_mib >= 0),
    unique nulls not distinct (benchmark_id, variant_index, round, stage, phase, asset_id),
    foreign key (benchmark_id, variant_index) references benchmark_variant on delete cascade
);
comment on table benchmark_timing is 'How long a phase took in one round. Phases of runs that were no benchmark are in phase_timing alone.';
comment on column benchmark_timing.round is '0 warmed up, and does not count.';
comment on column benchmark_timing.phase is 'A phase, or total, as in benchmark_figure.';
comment on column benchmark_timing.asset_id is 'Null for what all assets share. No foreign key: the time was spent even if the asset is deleted.';

create table benchmark_figure (
    benchmark_id bigint not null,
    variant_index integer not null,
    stage stage_name not null,
    phase text not null,
    position integer not null check (position >= 0),
    n integer not null check (n >= 1),
    median_s double precision not null check (median_s >= 0),
    q1_s double precision not null check (q1_s >= 0),
    q3_s double precision not null check (q3_s >= q1_s),
    primary key (benchmark_id, variant_index, stage, phase),
    foreign key (benchmark_id, variant_index) references benchmark_variant on delete cascade
);
comment on table benchmark_figure is 'Seconds of a phase for all assets of a round: median and quartiles over the rounds that count.';
comment on column benchmark_figure.phase is 'A phase, or total: the time in which any phase went on, without the container''s start. Before it was kept in benchmark_timing too, it was their sum.';
comment on column benchmark_figure.position is 'Order in which figures are shown.';

create table benchmark_check (
    benchmark_id bigint not null,
    variant_index integer not null,
    stage stage_name not null,
    asset_id sha256_hex not null,
    name text not null,
    value double precision,
    tolerance double precision not null,
    is_passed boolean not null,
    message text not null default '',
    primary key (benchmark_id, variant_index, stage, asset_id, name),
    foreign key (benchmark_id, variant_index) references benchmark_variant on delete cascade
);
comment on table benchmark_check is 'Whether an output agrees with the reference''s.';
comment on column benchmark_check.value is 'Null where there was nothing to reckon with; message says why.';
