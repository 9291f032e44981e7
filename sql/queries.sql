-- Every statement that the operators run, by name. Parameters are written :name.
-- `operators.queries` reads this file: one block starts at each `name` line and ends before the next.


-- Migrations ------------------------------------------------------------------------------------------------------

-- name: create_schema_migration
-- The one table that no migration can make, since each migration inserts its row first.
create table if not exists schema_migration (
    version integer primary key,
    name text not null,
    applied_at timestamptz not null default now()
);

-- name: claim_migration
-- No row comes back when it was applied already. A second migrator waits here until the first commits.
insert into schema_migration (version, name) values (:version, :name)
on conflict (version) do nothing
returning version;

-- name: list_migrations
select version, name from schema_migration order by version;


-- Catalog ---------------------------------------------------------------------------------------------------------

-- name: find_known_locations
-- What was seen at these locations before; roots and paths are arrays of the same length.
select l.root, l.path, l.asset_id, l.size_bytes, l.mtime_ns, l.inode, l.seen_at
from unnest(cast(:roots as text[]), cast(:paths as text[])) as asked (root, path)
join media_location as l using (root, path)
where l.asset_id is not null;

-- name: add_asset
insert into media_asset (asset_id, size_bytes, first_seen_at) values (:asset_id, :size_bytes, :seen_at)
on conflict (asset_id) do nothing;

-- name: save_location
insert into media_location (
    root, path, asset_id, size_bytes, mtime_ns, inode, seen_at, rejection_reason, rejection_message
) values (
    :root, :path, :asset_id, :size_bytes, :mtime_ns, :inode, :seen_at, :rejection_reason, :rejection_message
)
on conflict (root, path) do update set
    asset_id = excluded.asset_id,
    size_bytes = excluded.size_bytes,
    mtime_ns = excluded.mtime_ns,
    inode = excluded.inode,
    seen_at = excluded.seen_at,
    rejection_reason = excluded.rejection_reason,
    rejection_message = excluded.rejection_message,
    vanished_at = null;

-- name: find_asset_locations
-- Where these assets were last seen: what is still there first, then the latest sighting.
select asset_id, root, path, size_bytes, mtime_ns
from media_location
where asset_id = any(cast(:asset_ids as text[]))
order by asset_id, vanished_at is null desc, seen_at desc, root, path;


-- Scan ------------------------------------------------------------------------------------------------------------

-- name: create_scan_sighting
-- What a walk saw. The tables of a scan are its session's own: they are gone with it, and need no clearing up.
create temporary table if not exists scan_sighting (
    root text not null,
    path text not null,
    size_bytes bigint,
    mtime_ns numeric(30),
    inode numeric(20)
);

-- name: create_scan_change
-- What is to be hashed, in the order in which that is done.
create temporary table if not exists scan_change (
    change_id bigint generated always as identity primary key,
    root text not null,
    path text not null,
    size_bytes bigint,
    mtime_ns numeric(30),
    is_new_place boolean not null
);

-- name: create_scan_missing
-- What the catalog has below the folders that were walked, and the walk did not see.
create temporary table if not exists scan_missing (
    missing_id bigint generated always as identity primary key,
    root text not null,
    path text not null
);

-- name: index_scan_sightings
-- After the rows are there, which is cheaper. Tables that no statistics were taken of are joined by an index at worst.
create index if not exists scan_sighting_place on scan_sighting (root, path);

-- name: index_scan_changes
create index if not exists scan_change_place on scan_change (root, path);

-- name: empty_scan_tables
truncate scan_sighting, scan_change, scan_missing;

-- name: copy_scan_sightings
copy scan_sighting (root, path, size_bytes, mtime_ns, inode) from stdin;

-- name: find_scan_changes
-- A time stamp from shortly before the file was hashed, or a little ahead, proves nothing. What cannot be looked into
-- has neither time nor size, and goes last.
insert into scan_change (root, path, size_bytes, mtime_ns, is_new_place)
select s.root, s.path, s.size_bytes, s.mtime_ns, l.root is null
from scan_sighting as s
left join media_location as l using (root, path)
cross join lateral (select floor(extract(epoch from l.seen_at)) * 1000000000 - s.mtime_ns as age_ns) as hashed
where (
    l.asset_id is not null
    and (l.size_bytes, l.mtime_ns, l.inode) = (s.size_bytes, s.mtime_ns, s.inode)
    and (hashed.age_ns > :recent_ns or hashed.age_ns < -cast(:far_ahead_ns as bigint))
) is not true
order by
    (
        s.root = :first_root
        and (:first_path in ('', s.path) or starts_with(s.path, cast(:first_path as text) || '/'))
    ) desc,
    case cast(:order as text) when 'newest' then -s.mtime_ns when 'oldest' then s.mtime_ns else s.size_bytes end,
    s.root,
    s.path;

-- name: count_scan_changes
select count(*) as files, coalesce(sum(size_bytes), 0) as bytes from scan_change;

-- name: mark_returned
-- Rows are locked in the order of their keys, here and below, so that two scans do not wait for each other in a circle.
with returned as (
    select l.root, l.path
    from media_location as l
    join scan_sighting as s using (root, path)
    where l.vanished_at is not null
        and not exists (select from scan_change as c where (c.root, c.path) = (s.root, s.path))
    order by l.root, l.path
    for no key update of l
)
update media_location as l set vanished_at = null, seen_at = :seen_at
from returned
where (l.root, l.path) = (returned.root, returned.path);

-- name: list_scan_changes
select change_id, root, path, mtime_ns, is_new_place
from scan_change
where change_id > :after
order by change_id
limit :most;

-- name: find_known_assets
select asset_id from media_asset where asset_id = any(cast(:asset_ids as text[]));

-- name: knows_location_below
-- Whether the catalog has a file at this path, or one in the folder of that name; an empty path is the root.
select exists (
    select from media_location
    where root = :root
        and (vanished_at is null or :vanished_too)
        and (path = :path or path ~>=~ :below and path ~<~ :beyond)
);

-- name: find_scan_missing
insert into scan_missing (root, path)
select l.root, l.path
from media_location as l
where l.root = :root
    and l.vanished_at is null
    and (l.path = :path or l.path ~>=~ :below and l.path ~<~ :beyond)
    and not exists (select from scan_sighting as s where (s.root, s.path) = (l.root, l.path))
order by l.root, l.path;

-- name: list_scan_missing
select missing_id, root, path from scan_missing where missing_id > :after order by missing_id limit :most;

-- name: mark_vanished
with gone as (
    select l.root, l.path
    from media_location as l
    join unnest(cast(:roots as text[]), cast(:paths as text[])) as asked (root, path) using (root, path)
    where l.vanished_at is null
    order by l.root, l.path
    for no key update of l
)
update media_location as l set vanished_at = :vanished_at
from gone
where (l.root, l.path) = (gone.root, gone.path);

-- name: begin_scan
insert into archive_scan (folders, started_at) values (cast(:folders as text[]), :started_at) returning scan_id;

-- name: save_scan
update archive_scan set
    finished_at = :finished_at,
    files_found = :files_found,
    files_unchanged = :files_unchanged,
    files_hashed = :files_hashed,
    bytes_hashed = :bytes_hashed,
    files_known_content = :files_known_content,
    files_being_written = :files_being_written,
    files_rejected = :files_rejected,
    files_vanished = :files_vanished,
    files_returned = :files_returned,
    is_complete = :is_complete,
    message = :message
where scan_id = :scan_id;


-- Runs and timings ------------------------------------------------------------------------------------------------

-- name: begin_run
-- A run that is cleared and goes again takes the times of its last go.
insert into processing_run (dag_id, run_id, parameters, queued_at, started_at, outcome)
values (:dag_id, :run_id, cast(:parameters as jsonb), :queued_at, :started_at, 'running')
on conflict (dag_id, run_id) do update set
    parameters = excluded.parameters,
    queued_at = excluded.queued_at,
    started_at = excluded.started_at,
    finished_at = null,
    outcome = 'running';

-- name: ensure_run
-- An attempt may be the first thing that is heard of a run.
insert into processing_run (dag_id, run_id, started_at, outcome) values (:dag_id, :run_id, :started_at, 'running')
on conflict (dag_id, run_id) do nothing;

-- name: finish_run
update processing_run set finished_at = :finished_at, outcome = :outcome
where (dag_id, run_id) = (:dag_id, :run_id)
returning run_id;

-- name: save_run_item
insert into run_item (dag_id, run_id, root, path, asset_id, outcome, reason, message)
values (:dag_id, :run_id, :root, :path, :asset_id, :outcome, :reason, :message)
on conflict (dag_id, run_id, root, path) do update set
    asset_id = excluded.asset_id,
    outcome = excluded.outcome,
    reason = excluded.reason,
    message = excluded.message
where (run_item.asset_id, run_item.outcome, run_item.reason, run_item.message)
    is distinct from (excluded.asset_id, excluded.outcome, excluded.reason, excluded.message);

-- name: give_up_earlier_attempts
-- A later try begins only when the earlier one is over: one that still says running died without a word.
update stage_attempt set
    outcome = 'lost',
    finished_at = greatest(started_at, :started_at),
    message = format('try %s began while this one had not ended: its worker died', cast(:try_number as integer))
where (dag_id, run_id, task_id, map_index) = (:dag_id, :run_id, :task_id, :map_index)
    and try_number < :try_number
    and outcome = 'running';

-- name: begin_attempt
-- The same try may begin again after a deferral: it keeps its first start, and starts a container of its own.
insert into stage_attempt (
    dag_id, run_id, task_id, map_index, try_number, stage, upstream_finished_at, started_at, outcome
) values (
    :dag_id, :run_id, :task_id, :map_index, :try_number, :stage, :upstream_finished_at, :started_at, 'running'
)
on conflict (dag_id, run_id, task_id, map_index, try_number) do update set
    stage = excluded.stage,
    upstream_finished_at = coalesce(excluded.upstream_finished_at, stage_attempt.upstream_finished_at),
    started_at = least(excluded.started_at, stage_attempt.started_at),
    finished_at = null,
    outcome = 'running',
    joined_try_number = null,
    message = '';

-- name: describe_attempt
-- What is null here is left as it was. A try that started its own container has joined none.
update stage_attempt set
    variant = coalesce(:variant, variant),
    device = coalesce(:device, device),
    image = coalesce(:image, image),
    image_digest = coalesce(:image_digest, image_digest),
    models = coalesce(cast(:models as jsonb), models),
    compute_type = coalesce(:compute_type, compute_type),
    container_id = coalesce(:container_id, container_id),
    joined_try_number = coalesce(nullif(cast(:joined_try_number as integer), try_number), joined_try_number),
    lease_id = coalesce(cast(:lease_id as bigint), lease_id)
where (dag_id, run_id, task_id, map_index, try_number) = (:dag_id, :run_id, :task_id, :map_index, :try_number)
returning try_number;

-- name: finish_attempt
update stage_attempt set
    finished_at = greatest(started_at, :finished_at),
    outcome = :outcome,
    exit_code = :exit_code,
    message = :message,
    items_done = :items_done,
    items_reused = :items_reused,
    items_rejected = :items_rejected,
    items_failed = :items_failed,
    items_left = :items_left
where (dag_id, run_id, task_id, map_index, try_number) = (:dag_id, :run_id, :task_id, :map_index, :try_number)
returning try_number;

-- name: last_finished
-- When the last of these tasks ended; null when none has.
select max(finished_at)
from stage_attempt
where (dag_id, run_id) = (:dag_id, :run_id) and task_id = any(cast(:task_ids as text[]));

-- name: lock_attempt
-- Phases get their sequence numbers one writer at a time.
select try_number
from stage_attempt
where (dag_id, run_id, task_id, map_index, try_number) = (:dag_id, :run_id, :task_id, :map_index, :try_number)
for no key update;

-- name: save_phases
-- Records come as one JSON list. Those already there stay as they are, so that writing twice changes nothing. A try that
-- joined an earlier one's container reads what that one may have recorded before it failed: time is spent once.
with
record as (
    select
        r.*,
        row_number() over () as position
    from jsonb_to_recordset(cast(:records as jsonb)) as r (
        phase text, asset_id text, started_at timestamptz, duration_s double precision, span_s double precision,
        outcome text, counters jsonb, peak_rss_mib double precision, peak_vram_mib double precision
    )
),
last as (
    select coalesce(max(sequence), -1) as sequence
    from phase_timing
    where (dag_id, run_id, task_id, map_index, try_number) = (:dag_id, :run_id, :task_id, :map_index, :try_number)
)
insert into phase_timing (
    dag_id, run_id, task_id, map_index, try_number, sequence,
    phase, asset_id, started_at, duration_s, span_s, outcome, counters, peak_rss_mib, peak_vram_mib
)
select
    :dag_id, :run_id, :task_id, :map_index, :try_number, last.sequence + r.position,
    r.phase, r.asset_id, r.started_at, r.duration_s, r.span_s, r.outcome, r.counters, r.peak_rss_mib, r.peak_vram_mib
from record as r
cross join last
where not exists (
    select from phase_timing as earlier
    where (earlier.dag_id, earlier.run_id, earlier.task_id, earlier.map_index)
        = (:dag_id, :run_id, :task_id, :map_index)
        and earlier.try_number < :try_number
        and (earlier.phase, earlier.started_at) = (r.phase, r.started_at)
        and earlier.asset_id is not distinct from r.asset_id
)
on conflict (dag_id, run_id, task_id, map_index, try_number, phase, asset_id, started_at) do nothing
returning sequence;

-- name: lock_run
-- Whoever sums up a run's phases sees all that others have recorded of it before.
select run_id from processing_run where (dag_id, run_id) = (:dag_id, :run_id) for no key update;

-- name: count_phases
-- Adds the phases of an attempt from :first on. Rows are locked in the order of their keys.
insert into phase_count (
    night, part, phase, variant, device, model_names, compute_type, duration_bucket, occurrences, total_s
)
select night, part, phase, variant, device, model_names, compute_type, duration_bucket, count(*), sum(duration_s)
from phase_report
where (dag_id, run_id, task_id, map_index, try_number) = (:dag_id, :run_id, :task_id, :map_index, :try_number)
    and sequence >= :first
    and outcome = 'done'
group by night, part, phase, variant, device, model_names, compute_type, duration_bucket
order by night, part, phase, variant, device, model_names, compute_type, duration_bucket
on conflict (night, part, phase, variant, device, model_names, compute_type, duration_bucket) do update set
    occurrences = phase_count.occurrences + excluded.occurrences,
    total_s = phase_count.total_s + excluded.total_s;

-- name: sum_attempts
-- Of one attempt, or of all of a run: a media asset's length is known once it is published. Phases of an asset overlap,
-- so its work is the union of their spans.
update stage_attempt as a set
    wait_s = spent.wait_s,
    overhead_s = spent.overhead_s,
    work_s = spent.work_s,
    media_s = spent.media_s
from (
    select
        i.dag_id, i.run_id, i.task_id, i.map_index, i.try_number,
        sum(i.wait_s) as wait_s, sum(i.overhead_s) as overhead_s, sum(i.work_s) as work_s,
        coalesce(sum(m.duration_s) filter (where i.is_done and i.work_s > 0), 0) as media_s
    from (
        select
            p.dag_id, p.run_id, p.task_id, p.map_index, p.try_number, p.asset_id,
            coalesce(sum(p.duration_s) filter (where p.kind = 'wait'), 0) as wait_s,
            coalesce(sum(p.duration_s) filter (where p.kind = 'overhead'), 0) as overhead_s,
            length_s(range_agg(p.span) filter (where p.kind = 'work')) as work_s,
            bool_and(p.outcome = 'done') as is_done
        from phase_report as p
        where (p.dag_id, p.run_id) = (:dag_id, :run_id)
            and (
                cast(:task_id as text) is null
                or (p.task_id, p.map_index, p.try_number) = (:task_id, :map_index, :try_number)
            )
        group by p.dag_id, p.run_id, p.task_id, p.map_index, p.try_number, p.asset_id
    ) as i
    left join media_asset as m using (asset_id)
    group by i.dag_id, i.run_id, i.task_id, i.map_index, i.try_number
) as spent
where (a.dag_id, a.run_id, a.task_id, a.map_index, a.try_number)
    = (spent.dag_id, spent.run_id, spent.task_id, spent.map_index, spent.try_number);

-- name: sum_run_items
update run_item as i set work_s = spent.work_s, media_s = m.duration_s
from (
    select dag_id, run_id, asset_id, sum(work_s) as work_s
    from (
        select p.dag_id, p.run_id, p.asset_id, length_s(range_agg(p.span)) as work_s
        from phase_report as p
        where p.kind = 'work' and p.asset_id is not null
            and (p.dag_id, p.run_id) = (:dag_id, :run_id)
        group by p.dag_id, p.run_id, p.task_id, p.map_index, p.try_number, p.asset_id
    ) as a
    group by dag_id, run_id, asset_id
) as spent
left join media_asset as m using (asset_id)
where (i.dag_id, i.run_id, i.asset_id) = (spent.dag_id, spent.run_id, spent.asset_id);

-- name: measure_run
-- As run_coverage has it, kept for lists of runs.
update processing_run as r set covered_s = (
    select length_s(
        tstzmultirange(tstzrange(least(r.queued_at, r.started_at), greatest(coalesce(r.finished_at, 'infinity'), r.started_at), '[)'))
        * range_agg(p.span)
    )
    from phase_report as p
    where (p.dag_id, p.run_id) = (r.dag_id, r.run_id)
)
where (r.dag_id, r.run_id) = (:dag_id, :run_id);


-- Publishing ------------------------------------------------------------------------------------------------------

-- name: lock_asset
-- One publisher of an asset at a time.
select asset_id from media_asset where asset_id = :asset_id for no key update;

-- name: find_published
-- The current fingerprint of each stage, and the status of every result that was published.
select r.stage, r.fingerprint, r.status, c.fingerprint is not null as is_current
from stage_result as r
left join current_result as c using (asset_id, stage, fingerprint)
where r.asset_id = :asset_id;

-- name: save_result
insert into stage_result (
    asset_id, stage, fingerprint, status, reason, message, stage_version, variant, compute_type,
    models, parameters, inputs, files, task, finished_at
) values (
    :asset_id, :stage, :fingerprint, :status, :reason, :message, :stage_version, :variant, :compute_type,
    cast(:models as jsonb), cast(:parameters as jsonb), cast(:inputs as jsonb), cast(:files as jsonb),
    cast(:task as jsonb), :finished_at
)
on conflict (asset_id, stage, fingerprint) do update set
    status = excluded.status,
    reason = excluded.reason,
    message = excluded.message,
    stage_version = excluded.stage_version,
    variant = excluded.variant,
    compute_type = excluded.compute_type,
    models = excluded.models,
    parameters = excluded.parameters,
    inputs = excluded.inputs,
    files = excluded.files,
    task = excluded.task,
    finished_at = excluded.finished_at,
    published_at = excluded.published_at
where stage_result.status <> excluded.status;

-- name: make_current
insert into current_result (asset_id, stage, fingerprint) values (:asset_id, :stage, :fingerprint)
on conflict (asset_id, stage) do update set fingerprint = excluded.fingerprint;

-- name: find_stale_enrichment
-- A row when the current enrichment reads another transcript than the current one.
select e.fingerprint
from current_result as e
join stage_result as r using (asset_id, stage, fingerprint)
join current_result as t on t.asset_id = e.asset_id and t.stage = 'audio.transcribe'
where e.asset_id = :asset_id and e.stage = 'nlp.enrich' and r.inputs ->> 'audio.transcribe' <> t.fingerprint;

-- name: withdraw_current
delete from current_result where asset_id = :asset_id and stage = :stage;

-- name: describe_asset
update media_asset set
    container = :container,
    duration_s = :duration_s,
    has_audio = :has_audio,
    has_video = :has_video,
    probe = cast(:probe as jsonb)
where asset_id = :asset_id;

-- name: delete_extracted_audio
delete from extracted_audio where asset_id = :asset_id;

-- name: add_extracted_audio
insert into extracted_audio (
    asset_id, stream_index, sample_rate_hz, duration_s, integrated_lufs, loudness_range_lu, true_peak_dbtp
) values (
    :asset_id, :stream_index, :sample_rate_hz, :duration_s, :integrated_lufs, :loudness_range_lu, :true_peak_dbtp
);

-- name: delete_transcript
delete from transcript where asset_id = :asset_id;

-- name: add_transcript
insert into transcript (asset_id, language, language_probability, duration_s, speech_duration_s, text)
values (:asset_id, :language, :language_probability, :duration_s, :speech_duration_s, :text);

-- name: copy_transcript_segments
copy transcript_segment (
    asset_id, segment_index, start_s, end_s, text, mean_log_probability, no_speech_probability, words
) from stdin;

-- name: delete_vision_analysis
delete from vision_analysis where asset_id = :asset_id;

-- name: add_vision_analysis
insert into vision_analysis (
    asset_id, stream_index, width_px, height_px, interval_s, frame_count, detector_model,
    embedding_model, embedding_dimensions, embedding_trained
) values (
    :asset_id, :stream_index, :width_px, :height_px, :interval_s, :frame_count, :detector_model,
    :embedding_model, :embedding_dimensions, :embedding_trained
);

-- name: copy_shots
copy shot (asset_id, shot_index, start_s, end_s) from stdin;

-- name: copy_frames
copy frame (
    asset_id, frame_index, time_s, shot_index, brightness, contrast, sharpness, colors
) from stdin;

-- name: copy_detections
copy detection (
    asset_id, frame_index, detection_index, label, confidence, x_px, y_px, width_px, height_px
) from stdin;

-- name: copy_frame_tags
copy frame_tag (asset_id, frame_index, label, score) from stdin;

-- name: copy_frame_texts
copy frame_text (
    asset_id, frame_index, line_index, text, confidence, x_px, y_px, width_px, height_px
) from stdin;

-- name: copy_frame_embeddings
copy frame_embedding (asset_id, frame_index, model, dimensions, trained, vector) from stdin;

-- name: delete_enrichment
delete from enrichment where asset_id = :asset_id;

-- name: add_enrichment
insert into enrichment (asset_id, language, entity_engine, sentiment_engine)
values (:asset_id, :language, :entity_engine, :sentiment_engine);

-- name: copy_entities
copy entity (asset_id, entity_index, segment_index, start_offset, end_offset, text, label) from stdin;

-- name: copy_key_phrases
copy key_phrase (asset_id, phrase_index, text, score, occurrences) from stdin;

-- name: copy_sentiments
copy sentiment (asset_id, segment_index, label, score) from stdin;


-- GPUs ------------------------------------------------------------------------------------------------------------

-- name: lock_gpus
-- Leases are placed, breakers and routing changed by one at a time. Instants are taken by clock_timestamp() after this: now()
-- is when the transaction began, before it waited, and the log would show leases overlapping that never did.
-- Whoever is stopped while it holds the lock loses it, so that the others need not wait for it.
select
    set_config('idle_in_transaction_session_timeout', '15s', true),
    pg_advisory_xact_lock(hashtextextended('nightreel gpu', 0));

-- name: database_clock
select clock_timestamp();

-- name: ask_lease
-- A later try of the task takes over what an earlier one asked for, with its place in the queue. What was granted
-- stays as it was granted.
insert into gpu_lease (
    dag_id, run_id, task_id, map_index, stage, models, compute_type, batch_size, need_mib, priority, container_name,
    asked_at, renewed_at
) values (
    :dag_id, :run_id, :task_id, :map_index, :stage, :models, :compute_type, :batch_size, :need_mib, :priority,
    :container_name, clock_timestamp(), clock_timestamp()
)
on conflict (dag_id, run_id, task_id, map_index) where ended_at is null do update set
    renewed_at = excluded.renewed_at,
    stage = case when gpu_lease.granted_at is null then excluded.stage else gpu_lease.stage end,
    models = case when gpu_lease.granted_at is null then excluded.models else gpu_lease.models end,
    compute_type = case when gpu_lease.granted_at is null then excluded.compute_type else gpu_lease.compute_type end,
    batch_size = case when gpu_lease.granted_at is null then excluded.batch_size else gpu_lease.batch_size end,
    need_mib = case when gpu_lease.granted_at is null then excluded.need_mib else gpu_lease.need_mib end,
    priority = case when gpu_lease.granted_at is null then excluded.priority else gpu_lease.priority end,
    container_name = case
        when gpu_lease.granted_at is null then excluded.container_name else gpu_lease.container_name
    end
returning lease_id;

-- name: touch_lease
-- The waiting task lives. No row when the lease has ended.
update gpu_lease set renewed_at = clock_timestamp()
where lease_id = :lease_id and ended_at is null
returning lease_id, stage, need_mib, priority, asked_at, device_uuid, leased_mib, is_trial, renewed_at;

-- name: list_active_leases
-- Granted and waiting ones, the older first. silent_s is how long the task has not said that it lives.
select
    lease_id, dag_id, run_id, task_id, map_index, stage, need_mib, priority, container_name, asked_at,
    device_uuid, leased_mib, is_trial, granted_at, container_id, peak_mib,
    extract(epoch from clock_timestamp() - renewed_at) as silent_s
from gpu_lease
where ended_at is null
order by asked_at, lease_id;

-- name: grant_lease
update gpu_lease set
    device_uuid = :device_uuid,
    leased_mib = :leased_mib,
    capacity_mib = :capacity_mib,
    foreign_mib = :foreign_mib,
    is_trial = :is_trial,
    granted_at = clock_timestamp()
where lease_id = :lease_id;

-- name: renew_lease
-- No row when the lease has ended or was never granted.
update gpu_lease set
    renewed_at = clock_timestamp(),
    container_id = coalesce(:container_id, container_id),
    peak_mib = greatest(cast(:peak_mib as integer), peak_mib)
where lease_id = :lease_id and ended_at is null and granted_at is not null
returning device_uuid, renewed_at;

-- name: end_lease
-- No row when it has ended already.
update gpu_lease set ended_at = clock_timestamp(), ending = :ending
where lease_id = :lease_id and ended_at is null
returning device_uuid, ended_at;

-- name: list_silent_leases
-- Leases whose task has not said for a while that it lives.
select lease_id, dag_id, run_id, task_id, map_index, container_name, device_uuid, renewed_at
from gpu_lease
where ended_at is null and renewed_at < clock_timestamp() - cast(:silent_s as double precision) * interval '1 second'
order by lease_id;

-- name: reclaim_lease
-- No row when its task, or a later try of it, has spoken since.
update gpu_lease set ended_at = clock_timestamp(), ending = 'reclaimed'
where lease_id = :lease_id and ended_at is null and renewed_at = :renewed_at
returning device_uuid, ended_at;

-- name: measured_needs
-- Of each kind of work the highest of its last peaks, and over how many that is.
select stage, models, compute_type, batch_size, max(peak_mib) as peak_mib, count(*) as measurements
from (
    select
        stage, models, compute_type, batch_size, peak_mib,
        row_number() over (partition by stage, models, compute_type, batch_size order by ended_at desc) as age
    from gpu_lease
    where ended_at is not null and peak_mib > 0
) as peak
where age <= :last
group by stage, models, compute_type, batch_size
having count(*) >= :least;

-- name: list_breakers
select device_uuid, state, wait_s, opened_at, half_opens_at, trial_lease_id, reason, changed_at, changed_by
from gpu_breaker
order by device_uuid;

-- name: find_breaker
select device_uuid, state, wait_s, opened_at, half_opens_at, trial_lease_id, reason, changed_at, changed_by
from gpu_breaker
where device_uuid = :device_uuid;

-- name: save_breaker
insert into gpu_breaker (
    device_uuid, state, wait_s, opened_at, half_opens_at, trial_lease_id, reason, changed_at, changed_by
) values (
    :device_uuid, :state, :wait_s, :opened_at, :half_opens_at, :trial_lease_id, :reason, :changed_at, :changed_by
)
on conflict (device_uuid) do update set
    state = excluded.state,
    wait_s = excluded.wait_s,
    opened_at = excluded.opened_at,
    half_opens_at = excluded.half_opens_at,
    trial_lease_id = excluded.trial_lease_id,
    reason = excluded.reason,
    changed_at = excluded.changed_at,
    changed_by = excluded.changed_by;

-- name: log_breaker_change
insert into gpu_breaker_change (device_uuid, changed_at, state_before, state_after, reason, changed_by)
values (:device_uuid, :changed_at, :state_before, :state_after, :reason, :changed_by);

-- name: list_breaker_changes
-- What happened to the breakers, the last first.
select device_uuid, changed_at, state_before, state_after, reason, changed_by
from gpu_breaker_change
where device_uuid = :device_uuid or cast(:device_uuid as text) is null
order by change_id desc
limit :limit offset :offset;

-- name: save_gpu_events
-- Events come as one JSON list. Returns those that were not known.
insert into gpu_event (device_uuid, occurred_at, xid, severity)
select distinct e.device_uuid, e.occurred_at, e.xid, e.severity
from jsonb_to_recordset(cast(:events as jsonb)) as e (
    device_uuid text, occurred_at timestamptz, xid integer, severity text
)
-- Two who save the same events at once must meet them in the same order.
order by e.device_uuid, e.occurred_at, e.xid
on conflict (device_uuid, occurred_at, xid) do nothing
returning device_uuid, occurred_at, xid, severity;

-- name: list_routing
select stage, policy, changed_at, changed_by, reason from stage_routing order by stage;

-- name: find_routing
select policy from stage_routing where stage = :stage;

-- name: save_routing
insert into stage_routing (stage, policy, changed_at, changed_by, reason)
values (:stage, :policy, :changed_at, :changed_by, :reason)
on conflict (stage) do update set
    policy = excluded.policy,
    changed_at = excluded.changed_at,
    changed_by = excluded.changed_by,
    reason = excluded.reason;

-- name: log_routing_change
insert into stage_routing_change (stage, changed_at, policy_before, policy_after, changed_by, reason)
values (:stage, :changed_at, :policy_before, :policy_after, :changed_by, :reason);

-- name: list_routing_changes
-- The last first.
select stage, changed_at, policy_before, policy_after, changed_by, reason
from stage_routing_change
order by change_id desc
limit :limit offset :offset;

-- name: save_device_choice
insert into device_choice (
    dag_id, run_id, task_id, map_index, try_number, stage, branch, reason, need_mib, waited_s, policy, devices,
    decided_at
) values (
    :dag_id, :run_id, :task_id, :map_index, :try_number, :stage, :branch, :reason, :need_mib, :waited_s, :policy,
    cast(:devices as jsonb), :decided_at
)
on conflict (dag_id, run_id, task_id, map_index, try_number) do update set
    stage = excluded.stage,
    branch = excluded.branch,
    reason = excluded.reason,
    need_mib = excluded.need_mib,
    waited_s = excluded.waited_s,
    policy = excluded.policy,
    devices = excluded.devices,
    decided_at = excluded.decided_at;

-- name: list_device_choices
-- Of a run, in the order in which they were made.
select task_id, map_index, try_number, stage, branch, reason, need_mib, waited_s, policy, devices, decided_at
from device_choice
where (dag_id, run_id) = (:dag_id, :run_id)
order by decided_at, task_id, map_index, try_number;


-- Backfill: plan --------------------------------------------------------------------------------------------------

-- name: recent_item_work
-- What the latest attempts of each stage and variant that ended in order took for each asset that they finished.
with
attempt as (
    select a.*
    from unnest(cast(:stages as text[]), cast(:variants as text[])) as kind (stage, variant)
    cross join lateral (
        select dag_id, run_id, task_id, map_index, try_number, stage, variant
        from stage_attempt
        where stage = kind.stage and variant = kind.variant and outcome in ('done', 'stepped_aside')
        order by started_at desc
        limit :attempts
    ) as a
),
item as (
    select
        a.stage, a.variant, p.asset_id, range_agg(p.span) as spans,
        row_number() over (partition by a.stage, a.variant order by max(p.started_at) desc) as age
    from attempt as a
    join phase_report as p using (dag_id, run_id, task_id, map_index, try_number)
    where p.kind = 'work' and p.asset_id is not null
    group by a.stage, a.variant, p.dag_id, p.run_id, p.task_id, p.map_index, p.try_number, p.asset_id
    having bool_and(p.outcome = 'done')
)
select i.stage, i.variant, m.duration_s, length_s(i.spans) as work_s
from item as i
join media_asset as m using (asset_id)
where i.age <= :items
    and m.duration_s is not null
    and exists (
        select from stage_result as r where r.asset_id = i.asset_id and r.stage = i.stage and r.status = 'done'
    );

-- name: recent_container_overhead
-- What each of the latest attempts that started a container cost besides its work.
select a.stage, a.variant, sum(p.duration_s) as overhead_s
from unnest(cast(:stages as text[]), cast(:variants as text[])) as kind (stage, variant)
cross join lateral (
    select dag_id, run_id, task_id, map_index, try_number, stage, variant
    from stage_attempt
    where stage = kind.stage and variant = kind.variant and outcome = 'done'
    order by started_at desc
    limit :attempts
) as a
join phase_report as p using (dag_id, run_id, task_id, map_index, try_number)
where p.kind = 'overhead'
group by a.stage, a.variant, p.dag_id, p.run_id, p.task_id, p.map_index, p.try_number
having bool_or(p.phase = 'container_start');

-- name: recent_shard_times
-- From asking for the run to its end, and the work and overhead recorded in it, of the latest shards that ended well.
select extract(epoch from r.finished_at - s.launched_at)::double precision as wall_s, busy.busy_s
from backfill_shard as s
join processing_run as r using (dag_id, run_id)
cross join lateral (
    select sum(a.work_s + a.overhead_s) as busy_s
    from stage_attempt as a
    where (a.dag_id, a.run_id) = (s.dag_id, s.run_id)
) as busy
where s.outcome = 'done' and r.finished_at > s.launched_at and busy.busy_s > 0
    and not exists (
        select from phase_timing as p where (p.dag_id, p.run_id) = (s.dag_id, s.run_id) and p.phase = 'aside'
    )
order by s.shard_id desc
limit :shards;

-- name: media_densities
-- Medians of bytes per second of media by the ending of the file's name, and over all.
with probed as (
    select m.size_bytes / m.duration_s as bytes_per_s, lower(coalesce(l.ending, '')) as ending
    from (
        select asset_id, size_bytes, duration_s
        from media_asset
        where duration_s > 0 and size_bytes > 0
        order by asset_id
        limit :sample
    ) as m
    cross join lateral (
        select substring(path from '[^/](\.[^./]+)$') as ending from media_location where asset_id = m.asset_id limit 1
    ) as l
)
select
    case when grouping(ending) = 1 then cast(:over_all as text) else ending end as ending,
    percentile_cont(0.5) within group (order by bytes_per_s) as bytes_per_s
from probed
group by rollup (ending)
having count(*) >= :fewest and (grouping(ending) = 1 or ending <> '');

-- name: reckon_in_bulk
-- For the statements of this transaction that read whole tables: as they are read to the end, through a cursor too.
select
    set_config('cursor_tuple_fraction', '1', true),
    set_config('work_mem', '64MB', true),
    set_config('jit', 'off', true);

-- name: find_backlog
-- Assets in scope that lack a current result of a stage, and of which stages. asset_ids go before ranges of paths,
-- which are compared byte by byte. A rejection is a result; it excuses the stages that read it, directly or not.
-- All that is known of an asset meets in one grouping, which takes no longer when the planner misjudges the tables.
with
scope as (
    select l.asset_id, l.root, l.path, l.mtime_ns
    from unnest(cast(:roots as text[]), cast(:paths as text[]), cast(:path_ends as text[])) as r (root, path, path_end)
    join media_location as l on l.root = r.root and l.path ~>=~ r.path and l.path ~<~ r.path_end
    where l.vanished_at is null and l.asset_id is not null
    union all
    select l.asset_id, l.root, l.path, l.mtime_ns
    from unnest(cast(:asset_ids as text[])) as asked (asset_id)
    join media_location as l using (asset_id)
    where l.vanished_at is null
),
fact as (
    select
        s.asset_id, s.path, s.mtime_ns, f.root is not null as goes_first, null as has, true as is_found, false as is_out,
        s.root || '/' || s.path as name
    from scope as s
    left join unnest(
        cast(:first_roots as text[]), cast(:first_paths as text[]), cast(:first_path_ends as text[])
    ) as f (root, path, path_end) on s.root = f.root and s.path ~>=~ f.path and s.path ~<~ f.path_end
    union all
    select
        asset_id, null, null, false, array_agg(cast(stage as text)), false,
        count(*) = cardinality(cast(:stages as text[])), null
    from (
        select distinct asset_id, stage
        from stage_result
        where fingerprint = any(cast(:fingerprints as text[])) or stage = any(cast(:any_stages as text[]))
    ) as result
    group by asset_id
    union all
    select asset_id, null, null, false, null, false, true, null
    from backfill_item
    where backfill_id = :backfill_id or (shard_id is not null and outcome is null)
    union all
    select asset_id, null, null, false, null, false, true, null
    from asset_failure
    where not cast(:retry_parked as boolean) and (not_before is null or not_before > :now)
),
candidate as (
    select
        asset_id, min(path) as path, min(mtime_ns) as mtime_ns, bool_or(goes_first) as goes_first, max(has) as has,
        array_agg(name) filter (where is_found) as names
    from fact
    group by asset_id
    having bool_or(is_found) and not bool_or(is_out)
)
select
    c.asset_id, c.path, c.names, c.mtime_ns, c.goes_first, m.size_bytes, m.duration_s, m.has_audio, m.has_video, lacking.stages
from candidate as c
join media_asset as m using (asset_id)
cross join lateral (
    select array_agg(latest.stage) as stages
    from (
        select distinct on (stage) stage, status
        from stage_result
        where asset_id = c.asset_id
            and stage = any(c.has)
            and (fingerprint = any(cast(:fingerprints as text[])) or stage = any(cast(:any_stages as text[])))
        order by stage, published_at desc
    ) as latest
    where latest.status = 'rejected'
) as rejected
cross join lateral (
    select array_agg(wanted.stage) as stages
    from unnest(cast(:stages as text[])) as wanted (stage)
    where wanted.stage <> all(coalesce(c.has, '{}'))
        and wanted.stage not in (
            select reads.reader
            from unnest(cast(:readers as text[]), cast(:read_stages as text[])) as reads (reader, stage)
            where reads.stage = any(rejected.stages)
        )
) as lacking
where lacking.stages is not null;

-- name: add_backfill_items
-- Columns come as arrays of the same length; the stages of each asset as one text with commas.
insert into backfill_item (
    backfill_id, asset_id, goes_first, order_key, media_s, is_media_s_known, has_audio, has_video, stages, expected_s
)
select
    :backfill_id, item.asset_id, item.goes_first, item.order_key, item.media_s, item.is_media_s_known, item.has_audio,
    item.has_video, string_to_array(item.stages, ','), item.expected_s
from unnest(
    cast(:asset_ids as text[]), cast(:first as boolean[]), cast(:order_keys as double precision[]),
    cast(:media_s as double precision[]), cast(:known as boolean[]), cast(:with_audio as boolean[]),
    cast(:with_video as boolean[]), cast(:stages as text[]), cast(:expected_s as double precision[])
) as item (asset_id, goes_first, order_key, media_s, is_media_s_known, has_audio, has_video, stages, expected_s)
on conflict (backfill_id, asset_id) do nothing;

-- name: backlog_totals
-- What of a plan is in no shard.
select
    count(*) as assets,
    count(*) filter (where not is_media_s_known) as guessed,
    coalesce(sum(media_s), 0) as media_s,
    coalesce(sum(media_s) filter (where not is_media_s_known), 0) as guessed_media_s,
    coalesce(sum(expected_s), 0) as expected_s
from backfill_item
where backfill_id = :backfill_id and shard_id is null;


-- Backfill: night -------------------------------------------------------------------------------------------------

-- name: open_backfill
-- A run that is cleared and goes again takes its new hours; what was planned stays.
insert into backfill (dag_id, run_id, scope, wanted, opens_at, closes_at)
values (:dag_id, :run_id, cast(:scope as jsonb), cast(:wanted as jsonb), :opens_at, :closes_at)
on conflict (dag_id, run_id) do update set
    scope = excluded.scope,
    wanted = excluded.wanted,
    opens_at = excluded.opens_at,
    closes_at = excluded.closes_at,
    scan_id = null,
    is_planned = false,
    finished_at = null,
    report = null
returning backfill_id;

-- name: find_backfill
select backfill_id, dag_id, run_id, scope, wanted, opens_at, closes_at, scan_id, is_planned, finished_at, report
from backfill
where backfill_id = :backfill_id;

-- name: find_backfill_of_run
select backfill_id from backfill where (dag_id, run_id) = (:dag_id, :run_id);

-- name: list_open_backfills
select backfill_id, dag_id, run_id from backfill where finished_at is null order by backfill_id;

-- name: list_latest_backfills
-- Those with a report, the last one first.
select backfill_id from backfill where finished_at is not null order by backfill_id desc limit :most;

-- name: set_backfill_scan
-- What a scan that was asked for again finds is planned too.
update backfill set scan_id = :scan_id, is_planned = false where backfill_id = :backfill_id;

-- name: begin_extension
-- Holds the row until the plan is extended. No row when the backfill is over.
update backfill set is_planned = :is_planned where backfill_id = :backfill_id and finished_at is null
returning backfill_id;

-- name: plan_once_more
-- Assets came back to a backfill: the others that launch passed them over, as they were in a shard. Its own row is written
-- as it was, so that it is not finished between that and the end of this transaction.
update backfill set
    is_planned = is_planned and (backfill_id = :backfill_id or coalesce(closes_at <= :ended_at, false))
where finished_at is null;

-- name: finish_backfill
-- The first report stays.
update backfill set finished_at = :finished_at, report = cast(:report as jsonb)
where backfill_id = :backfill_id and finished_at is null;

-- name: forget_waiting_items
-- Of a backfill that is over: the next one finds them.
delete from backfill_item
where backfill_id = :backfill_id
    and shard_id is null
    and exists (select from backfill where backfill_id = :backfill_id and finished_at is not null);

-- name: try_lock_backfill
-- Whether this transaction is now the only one that goes on with the backfill.
select pg_try_advisory_xact_lock(hashtext('nightreel.backfill'), cast(:backfill_id as integer));

-- name: end_claim_when_idle
-- A process that is frozen while it claims assets would hold up all backfills: Postgres ends its session then. To choose
-- takes less than a second.
select set_config('idle_in_transaction_session_timeout', '60s', true);

-- name: lock_claims
-- Assets are claimed by one backfill at a time, so that two never want the same.
select pg_advisory_xact_lock(hashtext('nightreel.claims'));

-- name: list_waiting_items
-- In the order in which they go. What another backfill has in a shard, what has failed in one since it was planned, and
-- what is nowhere any more is passed over.
select i.asset_id, i.media_s, i.is_media_s_known, i.has_audio, i.has_video, i.stages
from backfill_item as i
where i.backfill_id = :backfill_id
    and i.shard_id is null
    and not exists (
        select from backfill_item as claimed
        where claimed.asset_id = i.asset_id and claimed.shard_id is not null and claimed.outcome is null
    )
    and (
        cast(:retry_parked as boolean)
        or not exists (
            select from asset_failure as f
            where f.asset_id = i.asset_id and (f.not_before is null or f.not_before > :now)
        )
    )
    and exists (select from media_location as l where l.asset_id = i.asset_id and l.vanished_at is null)
order by i.goes_first desc, i.order_key, i.asset_id
limit :most;

-- name: add_shard
-- The run's id holds the shard's, so the number is drawn first. Airflow keeps the prefix backfill__ to itself.
with drawn as (
    select nextval(pg_get_serial_sequence('backfill_shard', 'shard_id')) as shard_id
)
insert into backfill_shard (
    shard_id, backfill_id, dag_id, run_id, planned_at, expected_s, longest_s, media_s
)
overriding system value
select
    drawn.shard_id, :backfill_id, :dag_id,
    format('shard__%s_%s', cast(:backfill_id as bigint), drawn.shard_id),
    :planned_at, :expected_s, :longest_s, :media_s
from drawn
returning shard_id, run_id;

-- name: claim_items
update backfill_item set shard_id = :shard_id
where backfill_id = :backfill_id and shard_id is null and asset_id = any(cast(:asset_ids as text[]));

-- name: list_shards_under_way
-- Those of this backfill, and those that one which is over left behind.
select
    s.shard_id, s.backfill_id, s.dag_id, s.run_id, s.planned_at, s.launched_at, s.expected_s, s.longest_s, s.media_s,
    b.scope
from backfill_shard as s
join backfill as b using (backfill_id)
where s.ended_at is null and (s.backfill_id = :backfill_id or b.finished_at is not null)
order by s.shard_id;

-- name: count_shards_under_way
select count(*) from backfill_shard where ended_at is null;

-- name: fruitless_ends
-- How many of a backfill's latest shards in a row came to none of their assets, and when the last of them ended.
select count(*) as ends, max(ended_at) as ended_at
from (
    select ended_at, bool_or(not is_fruitless) over (order by ended_at desc, shard_id desc) as is_past
    from (
        select
            s.shard_id, s.ended_at,
            s.outcome in ('left', 'failed') and not exists (
                -- What was given up after its last return was not come to either.
                select from backfill_item as i where i.shard_id = s.shard_id and i.returns < :most_returns
            ) as is_fruitless
        from backfill_shard as s
        where s.backfill_id = :backfill_id and s.outcome <> 'withdrawn'
        order by s.ended_at desc, s.shard_id desc
        limit 64
    ) as latest
) as latest
where not is_past;

-- name: list_shard_assets
select asset_id from backfill_item where shard_id = :shard_id order by asset_id;

-- name: touch_shard
-- Its run is asked for now. The time counts from the last request, which may still be on its way when it is given up.
update backfill_shard set planned_at = :asked_at where shard_id = :shard_id and launched_at is null and ended_at is null;

-- name: mark_shard_launched
update backfill_shard set launched_at = :launched_at
where shard_id = :shard_id and launched_at is null and ended_at is null;

-- name: forget_shard_launch
update backfill_shard set launched_at = null where shard_id = :shard_id and ended_at is null;

-- name: lock_shard
-- No row when the shard has ended.
select backfill_id from backfill_shard where shard_id = :shard_id and ended_at is null for no key update;

-- name: read_shard_outcomes
-- What its run made of each asset; null where the run has no word on it.
select i.backfill_id, i.asset_id, i.returns, found.outcome, coalesce(found.message, '') as message
from backfill_item as i
join backfill_shard as s on s.shard_id = i.shard_id
left join lateral (
    select r.outcome, r.message
    from run_item as r
    where (r.dag_id, r.run_id, r.asset_id) = (s.dag_id, s.run_id, i.asset_id)
    order by r.outcome, r.root, r.path
    limit 1
) as found on true
where i.shard_id = :shard_id and i.outcome is null
order by i.asset_id;

-- name: end_item
update backfill_item set outcome = :outcome, message = :message, returns = :returns
where shard_id = :shard_id and asset_id = :asset_id;

-- name: return_item
update backfill_item set shard_id = null, message = :message, returns = :returns
where shard_id = :shard_id and asset_id = :asset_id;

-- name: release_shard_items
-- Its run never began: that is no return.
update backfill_item set shard_id = null where shard_id = :shard_id and outcome is null;

-- name: end_shard
update backfill_shard set
    launched_at = coalesce(launched_at, :launched_at),
    ended_at = :ended_at,
    outcome = :outcome
where shard_id = :shard_id;

-- name: find_failures
select asset_id, failures from asset_failure where asset_id = any(cast(:asset_ids as text[]));

-- name: save_failure
insert into asset_failure (asset_id, failures, failed_at, not_before, reason)
values (:asset_id, :failures, :failed_at, :not_before, :reason)
on conflict (asset_id) do update set
    failures = excluded.failures,
    failed_at = excluded.failed_at,
    not_before = excluded.not_before,
    reason = excluded.reason;

-- name: forget_failures
-- Whatever run made something of these assets.
delete from asset_failure where asset_id = any(cast(:asset_ids as text[]));

-- name: pause_backfills
-- No row when they are paused already.
insert into backfill_pause (paused_at, paused_by, reason) values (:at, :who, :why)
on conflict ((true)) where resumed_at is null do nothing
returning pause_id;

-- name: resume_backfills
-- No row when they are not paused.
update backfill_pause set resumed_at = :at, resumed_by = :who
where resumed_at is null
returning pause_id;

-- name: find_pause
select paused_at, paused_by, reason from backfill_pause where resumed_at is null;

-- name: backfill_counts
select
    count(*) filter (where outcome = 'done') as done,
    count(*) filter (where outcome = 'rejected') as rejected,
    count(*) filter (where outcome = 'failed') as failed,
    count(*) filter (where shard_id is not null and outcome is null) as under_way,
    count(*) filter (where shard_id is null) as waiting,
    coalesce(sum(media_s) filter (where outcome in ('done', 'rejected')), 0) as media_done_s,
    coalesce(sum(media_s) filter (where outcome is null), 0) as media_left_s,
    coalesce(sum(expected_s) filter (where outcome in ('done', 'rejected')), 0) as expected_done_s,
    coalesce(sum(expected_s) filter (where outcome is null), 0) as expected_left_s
from backfill_item
where backfill_id = :backfill_id;

-- name: backfill_remainder
-- Whether any of it is under way, and whether any waits.
select
    exists (select from backfill_shard where backfill_id = :backfill_id and ended_at is null) as is_under_way,
    exists (select from backfill_item where backfill_id = :backfill_id and shard_id is null) as is_waiting;

-- name: next_work
-- Expected of the first that wait.
select coalesce(sum(expected_s), 0)
from (
    select expected_s
    from backfill_item
    where backfill_id = :backfill_id and shard_id is null
    order by goes_first desc, order_key, asset_id
    limit :most
) as next;

-- name: list_backfill_shards
-- The first launched first.
select shard_id, run_id, planned_at, launched_at, ended_at, outcome, expected_s, longest_s, media_s
from backfill_shard
where backfill_id = :backfill_id and outcome is distinct from 'withdrawn'
order by launched_at, shard_id;

-- name: backfill_work
-- What each stage did on each variant in the runs of a backfill: on how many assets, of which length, in which time.
with
attempt as (
    select p.stage, p.variant, p.asset_id, length_s(range_agg(p.span)) as work_s
    from backfill_shard as s
    join phase_report as p using (dag_id, run_id)
    where s.backfill_id = :backfill_id and p.kind = 'work' and p.variant is not null and p.asset_id is not null
    group by p.dag_id, p.run_id, p.task_id, p.map_index, p.try_number, p.stage, p.variant, p.asset_id
),
work as (
    select stage, variant, asset_id, sum(work_s) as work_s
    from attempt
    group by stage, variant, asset_id
)
select w.stage, w.variant, count(*) as assets, sum(coalesce(i.media_s, 0)) as media_s, sum(w.work_s) as work_s
from work as w
left join backfill_item as i on i.backfill_id = :backfill_id and i.asset_id = w.asset_id
group by w.stage, w.variant
order by w.stage, w.variant;

-- name: list_failed_items
-- Of a backfill: what failed, when it is tried again (null: parked), and where it lies.
select
    coalesce(place.name, i.asset_id) as name, coalesce(f.failures, 1) as failures, f.not_before,
    f.asset_id is not null and f.not_before is null as is_parked, i.message
from backfill_item as i
left join asset_failure as f using (asset_id)
left join lateral (
    select l.root || '/' || l.path as name
    from media_location as l
    where l.asset_id = i.asset_id
    order by l.vanished_at is null desc, l.seen_at desc
    limit 1
) as place on true
where i.backfill_id = :backfill_id and i.outcome = 'failed'
order by is_parked desc, name
limit :most;

-- name: count_held_back
-- What failed before and a backfill does not take up, of what it is about: how many wait, when the first is ready, how
-- many are parked. What has all results since, waits in the plan, or is nowhere any more does not count.
select
    count(*) filter (where f.not_before is not null) as waiting,
    min(f.not_before) as first_ready_at,
    count(*) filter (where f.not_before is null) as parked
from asset_failure as f
where exists (
        select from media_location as l
        where l.asset_id = f.asset_id
            and l.vanished_at is null
            and (
                l.asset_id = any(cast(:asset_ids as text[]))
                or exists (
                    select
                    from unnest(
                        cast(:roots as text[]), cast(:paths as text[]), cast(:path_ends as text[])
                    ) as r (root, path, path_end)
                    where l.root = r.root and l.path ~>=~ r.path and l.path ~<~ r.path_end
                )
            )
    )
    and exists (
        select from unnest(cast(:stages as text[])) as wanted (stage)
        where not exists (
            select from stage_result as r
            where r.asset_id = f.asset_id
                and r.stage = wanted.stage
                and (r.fingerprint = any(cast(:fingerprints as text[])) or r.stage = any(cast(:any_stages as text[])))
        )
    )
    and not exists (
        select from backfill_item as i
        where (i.backfill_id, i.asset_id) = (:backfill_id, f.asset_id) and i.outcome is null
    );

-- name: count_futile_shards
-- Of a backfill: shards whose runs Airflow never started, and those whose runs came to none of their assets.
select
    count(*) filter (where s.outcome = 'withdrawn') as withdrawn,
    count(*) filter (
        where s.outcome in ('left', 'failed') and not exists (
            -- What was given up after its last return was not come to either.
            select from backfill_item as i where i.shard_id = s.shard_id and i.returns < :most_returns
        )
    ) as fruitless
from backfill_shard as s
where s.backfill_id = :backfill_id;

-- name: list_begun_shards
-- Of a backfill's shards that have not ended, those whose runs have told that they began.
select s.shard_id
from backfill_shard as s
join processing_run using (dag_id, run_id)
where s.backfill_id = :backfill_id and s.ended_at is null;

-- name: list_pauses
-- Those that were in force at some time of [opens_at, closes_at), the first one first; closes_at null: no end.
select paused_at, paused_by, reason, resumed_at
from backfill_pause
where paused_at < coalesce(cast(:closes_at as timestamptz), 'infinity') and coalesce(resumed_at, 'infinity') > :opens_at
order by paused_at;

-- name: list_first_items
-- What waits, in the order in which it goes, with its place. Places are looked up for what is listed only.
select i.asset_id, coalesce(place.name, i.asset_id) as name, i.media_s, i.is_media_s_known, i.has_audio, i.has_video,
    i.stages
from (
    select asset_id, media_s, is_media_s_known, has_audio, has_video, stages, goes_first, order_key
    from backfill_item
    where backfill_id = :backfill_id and shard_id is null
    order by goes_first desc, order_key, asset_id
    limit :most
) as i
left join lateral (
    select l.root || '/' || l.path as name
    from media_location as l
    where l.asset_id = i.asset_id
    order by l.vanished_at is null desc, l.seen_at desc
    limit 1
) as place on true
order by i.goes_first desc, i.order_key, i.asset_id;

-- name: list_longest_items
-- What waits, the longest work first, with its place. Places are looked up for what is listed only.
select i.asset_id, coalesce(place.name, i.asset_id) as name, i.media_s, i.is_media_s_known, i.has_audio, i.has_video,
    i.stages
from (
    select asset_id, media_s, is_media_s_known, has_audio, has_video, stages, expected_s
    from backfill_item
    where backfill_id = :backfill_id and shard_id is null
    order by expected_s desc, asset_id
    limit :most
) as i
left join lateral (
    select l.root || '/' || l.path as name
    from media_location as l
    where l.asset_id = i.asset_id
    order by l.vanished_at is null desc, l.seen_at desc
    limit 1
) as place on true
order by i.expected_s desc, i.asset_id;

-- name: find_scan
select
    files_found, files_unchanged, files_hashed, bytes_hashed, files_known_content, files_being_written,
    files_rejected, files_vanished, files_returned, is_complete, finished_at, message
from archive_scan
where scan_id = :scan_id;


-- Urgency ---------------------------------------------------------------------------------------------------------

-- name: urgency_standing
-- How many urgent runs are active, whether backfills are paused, whether the asking run is part of one, and which
-- tasks run a stage, as a JSON list.
select
    (select count(*) from processing_run where dag_id = :urgent_dag_id and outcome = 'running') as urgent_runs,
    pause.paused_by,
    pause.reason as pause_reason,
    exists (select from backfill_shard where (dag_id, run_id) = (:dag_id, :run_id)) as is_backfill,
    holding.holders
from (
    select
        coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'task', jsonb_build_object(
                        'dag_id', a.dag_id, 'run_id', a.run_id, 'task_id', a.task_id, 'map_index', a.map_index,
                        'try_number', a.try_number
                    ),
                    'stage', a.stage,
                    'variant', a.variant,
                    'started_at', a.started_at,
                    'is_backfill', s.shard_id is not null
                )
            ),
            '[]'
        ) as holders
    from stage_attempt as a
    -- The last try of a task whose worker died says running for ever, its run does not.
    join processing_run as r on (r.dag_id, r.run_id) = (a.dag_id, a.run_id) and r.outcome = 'running'
    left join backfill_shard as s on (s.dag_id, s.run_id) = (a.dag_id, a.run_id)
    where a.outcome = 'running' and a.variant is not null and a.stage is not null
) as holding
left join backfill_pause as pause on pause.resumed_at is null;

-- name: list_running_runs
-- Runs that say running, of one DAG or of all; the earliest first.
select dag_id, run_id
from processing_run
where outcome = 'running' and (dag_id = :dag_id or cast(:dag_id as text) is null)
order by started_at, dag_id, run_id;

-- name: close_run
-- For a run that Airflow has ended. No row when it has told its end since, or has begun anew.
update processing_run set outcome = 'cancelled', finished_at = :ended_at
where (dag_id, run_id) = (:dag_id, :run_id) and outcome = 'running' and started_at < :ended_at
returning run_id;

-- name: close_attempts_of_run
-- A task that still ends in order says so itself, later.
update stage_attempt set
    outcome = 'lost',
    finished_at = :ended_at,
    message = 'its run ended in Airflow while it still said running'
where (dag_id, run_id) = (:dag_id, :run_id) and outcome = 'running' and started_at < :ended_at;


-- Reports ---------------------------------------------------------------------------------------------------------

-- name: find_run
select dag_id, run_id, queued_at, started_at, finished_at, outcome
from processing_run
where (dag_id, run_id) = (:dag_id, :run_id);

-- name: list_run_items
select root, path, asset_id, outcome, reason, message
from run_item
where (dag_id, run_id) = (:dag_id, :run_id)
order by root, path;

-- name: list_run_troubles
-- Attempts that did not end well, the first one first.
select task_id, try_number, outcome, exit_code, message
from stage_attempt
where (dag_id, run_id) = (:dag_id, :run_id)
    and outcome in ('failed', 'device_failed', 'transient', 'lost', 'cancelled')
order by started_at, task_id, map_index, try_number;

-- name: run_phase_table
-- Where the time of a run went: waits and phases, all tries, the largest first. share is of all seconds summed.
select
    kind, phase, coalesce(stage, task_id) as part, variant, count(*) as occurrences,
    sum(duration_s) as total_s,
    percentile_cont(0.5) within group (order by duration_s) as median_s,
    coalesce(sum(duration_s) / nullif(sum(sum(duration_s)) over (), 0), 0) as share
from phase_report
where (dag_id, run_id) = (:dag_id, :run_id)
group by kind, phase, coalesce(stage, task_id), variant
order by total_s desc, phase, part, variant;

-- name: run_coverage
-- How much of a run's wall time the phases account for: the union of their spans within the run. A run that
-- goes on counts up to now. The longest gap is the longest time that no phase covers.
with
run as (
    select
        tstzmultirange(tstzrange(least(queued_at, started_at), greatest(coalesce(finished_at, now()), started_at), '[)'))
            as wall
    from processing_run
    where (dag_id, run_id) = (:dag_id, :run_id)
),
covered as (
    select coalesce(range_agg(span), tstzmultirange()) as spans
    from phase_report
    where (dag_id, run_id) = (:dag_id, :run_id)
),
gap as (
    select lower(g) as started_at, extract(epoch from upper(g) - lower(g)) as duration_s
    from run
    cross join covered
    cross join unnest(run.wall - covered.spans) as g
    order by duration_s desc
    limit 1
)
select
    length.wall_s,
    length.covered_s,
    length.covered_s / nullif(length.wall_s, 0) as share,
    extract(epoch from gap.started_at - lower(run.wall))::double precision as longest_gap_at_s,
    coalesce(gap.duration_s, 0)::double precision as longest_gap_s
from run
cross join covered
cross join lateral (
    select length_s(run.wall) as wall_s, length_s(run.wall * covered.spans) as covered_s
) as length
left join gap on true;

-- name: report_media
select duration_s, has_audio, has_video from media_asset where asset_id = :asset_id;

-- name: report_transcript
select language, language_probability, speech_duration_s, text from transcript where asset_id = :asset_id;

-- name: report_frames
select v.frame_count, v.interval_s, (select count(*) from shot where asset_id = v.asset_id) as shots
from vision_analysis as v
where v.asset_id = :asset_id;

-- name: report_objects
-- In how many frames each kind of object was seen.
select label as text, '' as label, count(distinct frame_index) as frames
from detection
where asset_id = :asset_id
group by detection.label
order by frames desc, detection.label
limit :limit;

-- name: report_screen_texts
select text, '' as label, count(distinct frame_index) as frames
from frame_text
where asset_id = :asset_id
group by text
order by frames desc, max(confidence) desc, text
limit :limit;

-- name: report_entities
select text, label, count(*) as mentions
from entity
where asset_id = :asset_id
group by text, label
order by mentions desc, text, label
limit :limit;

-- name: report_key_phrases
select text from key_phrase where asset_id = :asset_id order by score desc, phrase_index limit :limit;

-- name: report_sentiment
select s.label, s.score, e.sentiment_engine
from sentiment as s
join enrichment as e using (asset_id)
where asset_id = :asset_id and s.segment_index is null;

-- name: report_files
-- The files of the current results.
select c.stage, c.fingerprint, f.name, f.size_bytes
from current_result as c
join stage_result as r using (asset_id, stage, fingerprint)
cross join jsonb_to_recordset(r.files) as f (name text, size_bytes bigint)
where c.asset_id = :asset_id
order by c.stage, f.name;

-- name: report_rejections
-- Why stages gave no result, where that is what is current.
select c.stage, r.reason, r.message
from current_result as c
join stage_result as r using (asset_id, stage, fingerprint)
where c.asset_id = :asset_id and r.status = 'rejected'
order by c.stage;

-- name: lock_run_notes
-- Until the transaction ends, nobody else writes the note of this run.
select pg_advisory_xact_lock(hashtextextended(:dag_id || ' ' || :run_id, 0));

-- name: device_story
-- Where the stages of a run went, then what became of GPU tasks since that did not end well. Only the last go counts.
with choice as (
    select distinct on (task_id, map_index) stage, map_index, decided_at, reason
    from device_choice
    where (dag_id, run_id) = (:dag_id, :run_id)
    order by task_id, map_index, try_number desc
),
last_try as (
    select distinct on (a.task_id, a.map_index) a.task_id, a.outcome, a.message, a.started_at
    from stage_attempt as a
    join choice as c using (stage, map_index)
    where (a.dag_id, a.run_id) = (:dag_id, :run_id) and a.variant = 'cuda' and a.started_at >= c.decided_at
    order by a.task_id, a.map_index, a.try_number desc
)
select reason as line from (select reason from choice order by decided_at) as chosen
union all
select line
from (
    select task_id || ': ' || message as line
    from last_try
    where outcome not in ('running', 'done', 'reused', 'rejected', 'stepped_aside')
    order by started_at
) as troubles;

-- name: end_unheard_attempts
-- Tries of a task that still say running although the task has ended: their process died without a word.
update stage_attempt
set
    outcome = 'lost',
    finished_at = greatest(started_at, :finished_at),
    message = 'its process died without a word; the CPU took over'
where (dag_id, run_id, task_id, map_index) = (:dag_id, :run_id, :task_id, :map_index) and outcome = 'running'
returning try_number, coalesce(joined_try_number, try_number) as container_try_number;

-- Pages: devices ------------------------------------------------------------------------------------------------------

-- name: list_granted_leases
-- All that were held at some time since an instant. Two ways to find them, since an index serves each.
select device_uuid, leased_mib, granted_at, ended_at
from gpu_lease
where ended_at is null and device_uuid is not null
union all
select device_uuid, leased_mib, granted_at, ended_at
from gpu_lease
where ended_at > :since and device_uuid is not null;

-- name: list_stage_routing
select stage, policy, changed_at, changed_by, reason from stage_routing;

-- Pages: backfill -----------------------------------------------------------------------------------------------------

-- name: page_past_nights
-- Backfills with a report, the last first. What an older report does not tell is null.
select
    backfill_id, dag_id, run_id, opens_at, closes_at, finished_at,
    cast(report ->> 'shards' as integer) as runs,
    cast(report ->> 'done' as integer) as done,
    cast(report ->> 'rejected' as integer) as rejected,
    cast(report ->> 'failed' as integer) as failed,
    cast(report ->> 'left' as integer) as left_over,
    cast(report ->> 'media_done_s' as double precision) as media_done_s,
    cast(report ->> 'media_left_s' as double precision) as media_left_s
from backfill
where finished_at is not null
order by backfill_id desc
limit :limit offset :offset;

-- name: page_night_runs
-- Runs of a backfill, those under way first, then the last that ended; or those under way alone.
with shown as (
    select shard_id, dag_id, run_id, planned_at, launched_at, ended_at, outcome, expected_s, media_s
    from backfill_shard
    where backfill_id = :backfill_id and (ended_at is null or not cast(:only_under_way as boolean))
    order by ended_at desc nulls first, shard_id desc
    limit :limit offset :offset
)
select s.*, r.started_at as began_at, items.assets, items.ended
from shown as s
left join processing_run as r using (dag_id, run_id)
cross join lateral (
    select count(*) as assets, count(*) filter (where i.outcome is not null) as ended
    from backfill_item as i
    where i.shard_id = s.shard_id
) as items
order by s.ended_at desc nulls first, s.shard_id desc;

-- name: count_failures
-- Over all backfills: assets that failed and are tried again, now or later, and those that are parked.
select count(*) filter (where not_before is not null) as waiting, count(*) filter (where not_before is null) as parked
from asset_failure;

-- name: page_failures
-- The last that failed first; with where each asset lies, or lay.
with shown as (
    select asset_id, failures, failed_at, not_before, reason
    from asset_failure
    where cast(:is_parked as boolean) is null or (not_before is null) = :is_parked
    order by failed_at desc, asset_id
    limit :limit offset :offset
)
select s.*, place.name, coalesce(place.is_there, false) as is_there
from shown as s
left join lateral (
    select l.root || '/' || l.path as name, l.vanished_at is null as is_there
    from media_location as l
    where l.asset_id = s.asset_id
    order by l.vanished_at is null desc, l.seen_at desc
    limit 1
) as place on true
order by s.failed_at desc, s.asset_id;

-- name: list_last_pauses
select paused_at, paused_by, reason, resumed_at, resumed_by from backfill_pause order by pause_id desc limit :limit;

-- Pages: comparison ---------------------------------------------------------------------------------------------------

-- name: begin_benchmark
-- A run that is cleared and goes again is measured anew.
insert into benchmark (dag_id, run_id, name, repeats, media, machine, started_at, outcome, baseline_id)
values (
    :dag_id, :run_id, :name, :repeats, cast(:media as jsonb), cast(:machine as jsonb), :started_at, 'running', :baseline_id
)
on conflict (dag_id, run_id) do update set
    name = excluded.name, repeats = excluded.repeats, media = excluded.media, machine = excluded.machine,
    started_at = excluded.started_at, finished_at = null, outcome = 'running', message = '',
    baseline_id = excluded.baseline_id
returning benchmark_id;

-- name: forget_benchmark_variants
delete from benchmark_variant where benchmark_id = :benchmark_id;

-- name: add_benchmark_variant
insert into benchmark_variant (benchmark_id, variant_index, name, outcome, message, builds)
values (:benchmark_id, :variant_index, :name, :outcome, :message, cast(:builds as jsonb));

-- name: copy_benchmark_timings
copy benchmark_timing (
    benchmark_id, variant_index, round, stage, phase, asset_id, seconds, peak_rss_mib, peak_vram_mib
) from stdin;

-- name: add_benchmark_figure
insert into benchmark_figure (benchmark_id, variant_index, stage, phase, position, n, median_s, q1_s, q3_s)
values (:benchmark_id, :variant_index, :stage, :phase, :position, :n, :median_s, :q1_s, :q3_s);

-- name: add_benchmark_check
insert into benchmark_check (benchmark_id, variant_index, stage, asset_id, name, value, tolerance, is_passed, message)
values (:benchmark_id, :variant_index, :stage, :asset_id, :name, :value, :tolerance, :is_passed, :message);

-- name: finish_benchmark
update benchmark set finished_at = :finished_at, outcome = :outcome, message = :message, media = cast(:media as jsonb)
where benchmark_id = :benchmark_id;

-- name: find_benchmark
select * from benchmark where benchmark_id = :benchmark_id;

-- name: find_benchmark_of_run
select benchmark_id from benchmark where (dag_id, run_id) = (:dag_id, :run_id);

-- name: find_baseline
-- The last that ended under a name; without a name the one that is marked. Never the asking run's own.
select benchmark_id
from benchmark
where finished_at is not null
    and (dag_id, run_id) <> (:dag_id, :run_id)
    and case when cast(:name as text) is null then marked_at is not null else name = :name end
order by benchmark_id desc
limit 1;

-- name: list_benchmark_variants
select * from benchmark_variant where benchmark_id = :benchmark_id order by variant_index;

-- name: list_benchmark_timings
select * from benchmark_timing
where benchmark_id = :benchmark_id
order by round, variant_index, stage, asset_id nulls first, phase;

-- name: list_benchmark_figures
select * from benchmark_figure where benchmark_id = :benchmark_id order by position;

-- name: list_benchmark_checks
select * from benchmark_check where benchmark_id = :benchmark_id order by variant_index, stage, asset_id, name;

-- name: page_benchmarks
-- The last first.
select
    b.benchmark_id, b.dag_id, b.run_id, b.name, b.started_at, b.finished_at, b.outcome, b.message, b.machine, b.media,
    b.repeats, b.baseline_id, b.marked_at, b.marked_by, r.outcome as run_outcome,
    coalesce(v.variants, 0) as variants, coalesce(v.wrong, 0) as wrong, coalesce(v.failed, 0) as failed
from benchmark as b
join processing_run as r using (dag_id, run_id)
left join lateral (
    select
        count(*) as variants,
        count(*) filter (where outcome = 'wrong') as wrong,
        count(*) filter (where outcome = 'failed') as failed
    from benchmark_variant
    where benchmark_id = b.benchmark_id
) as v on true
order by b.benchmark_id desc
limit :limit offset :offset;

-- name: unmark_benchmarks
update benchmark set marked_at = null, marked_by = null where marked_at is not null;

-- name: mark_benchmark
-- No row when there is none that has ended.
update benchmark set marked_at = :marked_at, marked_by = :marked_by
where benchmark_id = :benchmark_id and finished_at is not null
returning name;

-- name: recent_attempts
-- Of each stage and variant the latest attempts that ended well, back to where they had so many assets in all.
-- Benchmarks record no attempts.
select a.*, l.peak_mib, l.capacity_mib
from unnest(cast(:stages as text[]), cast(:variants as text[])) as kind (stage, variant)
cross join lateral (
    select
        latest.*,
        sum(items_done) over (order by started_at desc rows unbounded preceding) - items_done as items_before
    from (
        select
            dag_id, run_id, task_id, map_index, try_number, stage, variant, device, compute_type, models, items_done,
            started_at, lease_id, work_s
        from stage_attempt
        where stage = kind.stage and variant = kind.variant and outcome = 'done'
        order by started_at desc
        limit :attempts
    ) as latest
) as a
left join gpu_lease as l using (lease_id)
where a.items_before < :items
order by a.stage, a.variant, a.started_at desc;

-- name: attempt_phases
-- Of attempts, whose keys come as arrays: seconds per minute of media of each phase that assets have of their own.
select
    a.stage, a.variant, p.phase, count(*) as n,
    percentile_cont(array[0.25, 0.5, 0.75]) within group (order by p.duration_s * 60 / m.duration_s) as quartiles,
    sum(p.duration_s) as total_s
from unnest(
    cast(:dag_ids as text[]), cast(:run_ids as text[]), cast(:task_ids as text[]), cast(:map_indexes as integer[]),
    cast(:try_numbers as integer[]), cast(:stages as text[]), cast(:variants as text[])
) as a (dag_id, run_id, task_id, map_index, try_number, stage, variant)
join phase_timing as p using (dag_id, run_id, task_id, map_index, try_number)
join media_asset as m on m.asset_id = p.asset_id
where p.outcome = 'done' and m.duration_s > 0
group by a.stage, a.variant, p.phase
order by a.stage, a.variant, total_s desc;

-- name: attempt_work
-- Of attempts, whose keys come as arrays: seconds per minute of media of all work on an asset; what overlaps counts once.
select
    i.stage, i.variant, count(*) as n,
    percentile_cont(array[0.25, 0.5, 0.75]) within group (order by length_s(i.spans) * 60 / m.duration_s) as quartiles
from (
    select a.stage, a.variant, p.asset_id, range_agg(p.span) as spans
    from unnest(
        cast(:dag_ids as text[]), cast(:run_ids as text[]), cast(:task_ids as text[]), cast(:map_indexes as integer[]),
        cast(:try_numbers as integer[]), cast(:stages as text[]), cast(:variants as text[])
    ) as a (dag_id, run_id, task_id, map_index, try_number, stage, variant)
    join phase_report as p using (dag_id, run_id, task_id, map_index, try_number)
    where p.outcome = 'done'
    group by a.stage, a.variant, dag_id, run_id, task_id, map_index, try_number, p.asset_id
) as i
join media_asset as m using (asset_id)
where m.duration_s > 0
group by i.stage, i.variant;

-- name: attempt_overheads
-- Of attempts, whose keys come as arrays: seconds per container of each phase that all its assets share.
select
    a.stage, a.variant, p.phase, count(*) as n,
    percentile_cont(array[0.25, 0.5, 0.75]) within group (order by p.duration_s) as quartiles,
    sum(p.duration_s) as total_s
from unnest(
    cast(:dag_ids as text[]), cast(:run_ids as text[]), cast(:task_ids as text[]), cast(:map_indexes as integer[]),
    cast(:try_numbers as integer[]), cast(:stages as text[]), cast(:variants as text[])
) as a (dag_id, run_id, task_id, map_index, try_number, stage, variant)
join phase_timing as p using (dag_id, run_id, task_id, map_index, try_number)
where p.outcome = 'done' and p.asset_id is null and p.phase in ('container_start', 'import', 'model_load')
group by a.stage, a.variant, p.phase
order by a.stage, a.variant, total_s desc;

-- Metrics -------------------------------------------------------------------------------------------------------------

-- name: limit_statements
-- Of this transaction.
select set_config('statement_timeout', cast(:limit_ms as text), true);

-- name: metrics_phase_uses
-- Of the night under way: which phases ended in order, how often, and how long they took together.
select
    part, phase, coalesce(variant, '') as variant, coalesce(device, '') as device,
    sum(occurrences)::bigint as occurrences, sum(total_s) as total_s
from phase_count
where night = cast((cast(:now as timestamptz) at time zone 'UTC') - interval '12 hours' as date)
group by part, phase, variant, device;

-- name: metrics_phase_spreads
-- Of the night under way: how long half of a phase's occurrences took at most, and 19 in 20. A bucket stands for its middle.
with counted as (
    select part, phase, coalesce(variant, '') as variant, duration_bucket, sum(occurrences) as occurrences
    from phase_count
    where night = cast((cast(:now as timestamptz) at time zone 'UTC') - interval '12 hours' as date)
    group by part, phase, variant, duration_bucket
),
ranked as (
    select
        part, phase, variant, duration_bucket,
        sum(occurrences) over (partition by part, phase, variant order by duration_bucket) as up_to,
        sum(occurrences) over (partition by part, phase, variant) as occurrences
    from counted
)
select
    part, phase, variant, occurrences::bigint,
    power(1.1::double precision, min(duration_bucket) filter (where up_to >= 0.5 * occurrences) + 0.5) as median_s,
    power(1.1::double precision, min(duration_bucket) filter (where up_to >= 0.95 * occurrences) + 0.5) as p95_s
from ranked
group by part, phase, variant, occurrences;

-- name: metrics_attempts
select coalesce(stage, task_id) as part, coalesce(variant, '') as variant, outcome, count(*) as attempts
from stage_attempt
where finished_at > :since
group by coalesce(stage, task_id), variant, outcome;

-- name: metrics_fallbacks
-- The CPU took work that was meant for a GPU: chosen before it began, given up by a task that had not begun, or failed.
select stage, outcome as cause, count(*) as fallbacks
from stage_attempt
where finished_at > :since and outcome in ('moved', 'device_failed')
group by stage, outcome
union all
select c.stage, 'chosen', count(*)
from unnest(cast(:stages as text[])) as wanted (stage)
join device_choice as c on c.stage = wanted.stage and c.decided_at > :since
where c.branch = 'cpu' and c.policy <> 'cpu' and c.devices <> '[]'
group by c.stage;

-- name: metrics_runs_under_way
select dag_id, count(*) as runs from processing_run where outcome = 'running' group by dag_id;


-- Pages: archive ---------------------------------------------------------------------------------------------------

-- name: plan_search
-- For this transaction: plan for the words that are asked for, take hits from the indexes in the order in which
-- they lie there, so that pages follow on one another, and give up in time.
select
    set_config('plan_cache_mode', 'force_custom_plan', true),
    set_config('enable_seqscan', 'off', true),
    set_config('max_parallel_workers_per_gather', '0', true),
    set_config('jit', 'off', true),
    set_config('statement_timeout', :timeout, true);

-- name: search_tree
-- What an index can answer of a search. Empty: it has no words. T: it only has words that must not be there.
select querytree(websearch_to_tsquery('simple', :query));

-- name: list_labels
-- The kinds of objects that were ever found. Steps from one to the next in the index.
with recursive step as (
    (select label from detection order by label limit 1)
    union all
    select (select d.label from detection as d where d.label > step.label order by d.label limit 1)
    from step
    where step.label is not null
)
select label from step where label is not null;

-- name: match_labels
select label
from unnest(cast(:labels as text[])) as label
where to_tsvector('simple', label) @@ websearch_to_tsquery('simple', :query)
order by label;

-- name: list_languages
with recursive step as (
    (select language from transcript where language is not null order by language limit 1)
    union all
    select (select t.language from transcript as t where t.language > step.language order by t.language limit 1)
    from step
    where step.language is not null
)
select language from step where language is not null;

-- name: list_roots
with recursive step as (
    (select root from media_location order by root limit 1)
    union all
    select (select l.root from media_location as l where l.root > step.root order by l.root limit 1)
    from step
    where step.root is not null
)
select root from step where root is not null;

-- name: search_assets
-- Assets in which something is found. In each kind they have a rank; the ranks are put together by reciprocal rank
-- fusion (Cormack, Clarke and Buettcher, 2009, with their constant of 60): first comes what is high in one kind or
-- found in several. Equals: newest first. Of each kind at most :candidates hits count; largest says whether there were
-- so many. The joins with what is not asked for fall away, so that each part is planned for what is left.
with
in_folder as not materialized (
    select asset_id
    from media_location
    where root = :root and vanished_at is null and (path = :folder or path like :below)
    group by asset_id
),
hit as (
    (
        select 'speech' as kind, asset_id, ts_rank(x.search, websearch_to_tsquery('simple', :query)) as score
        from transcript_segment as x
        left join transcript as t using (asset_id)
        left join in_folder as f using (asset_id)
        where cast(:in_speech as boolean)
            and x.search @@ websearch_to_tsquery('simple', :query)
            and (cast(:language as text) is null or t.language = :language)
            and (cast(:root as text) is null or f.asset_id is not null)
        limit :candidates
    )
    union all
    (
        select 'screen', asset_id, confidence * ts_rank(x.search, websearch_to_tsquery('simple', :query))
        from frame_text as x
        left join transcript as t using (asset_id)
        left join in_folder as f using (asset_id)
        where cast(:in_screen as boolean)
            and x.search @@ websearch_to_tsquery('simple', :query)
            and (cast(:language as text) is null or t.language = :language)
            and (cast(:root as text) is null or f.asset_id is not null)
        limit :candidates
    )
    union all
    (
        select 'names', asset_id, case lower(x.text) when lower(:name) then 1 else 0.5 end
        from entity as x
        left join transcript as t using (asset_id)
        left join in_folder as f using (asset_id)
        where cast(:in_names as boolean)
            and left(lower(x.text), 200) like
                replace(replace(replace(left(lower(:name), 200), '\', '\\'), '%', '\%'), '_', '\_') || '%'
            and (cast(:language as text) is null or t.language = :language)
            and (cast(:root as text) is null or f.asset_id is not null)
        limit :candidates
    )
    union all
    select 'objects', surest.asset_id, surest.confidence
    from unnest(cast(:labels as text[])) as found (label)
    cross join lateral (
        select asset_id, confidence
        from detection
        left join transcript as t using (asset_id)
        left join in_folder as f using (asset_id)
        where label = found.label
            and (cast(:language as text) is null or t.language = :language)
            and (cast(:root as text) is null or f.asset_id is not null)
        order by confidence desc
        limit :candidates
    ) as surest
),
ranked as (
    select
        kind, asset_id, count(*) as hits,
        rank() over (partition by kind order by max(score) desc, count(*) desc) as place,
        sum(count(*)) over (partition by kind) as hits_of_kind
    from hit
    group by kind, asset_id
)
select
    asset_id,
    coalesce(sum(hits) filter (where kind = 'speech'), 0) as speech,
    coalesce(sum(hits) filter (where kind = 'screen'), 0) as screen,
    coalesce(sum(hits) filter (where kind = 'names'), 0) as names,
    coalesce(sum(hits) filter (where kind = 'objects'), 0) as objects,
    max(hits_of_kind) as largest
from ranked
join media_asset as a using (asset_id)
group by asset_id, a.first_seen_at
order by sum(1 / (60 + cast(place as double precision))) desc, a.first_seen_at desc, asset_id
limit :limit offset :offset;

-- name: search_speech
-- The closest utterances of some assets, with what is said before and after. :start and :stop stand around the hits.
select
    s.asset_id, s.start_s, s.text, previous.text as before, following.text as after,
    ts_headline(
        'simple', left(s.text, :longest), websearch_to_tsquery('simple', :query),
        'HighlightAll=true, StartSel=' || :start || ', StopSel=' || :stop
    ) as marked
from (
    select
        asset_id, segment_index, start_s, text,
        row_number() over (
            partition by asset_id order by ts_rank(search, websearch_to_tsquery('simple', :query)) desc, segment_index
        ) as place
    from transcript_segment
    where asset_id = any(cast(:assets as text[])) and search @@ websearch_to_tsquery('simple', :query)
) as s
left join transcript_segment as previous
    on (previous.asset_id, previous.segment_index) = (s.asset_id, s.segment_index - 1)
left join transcript_segment as following
    on (following.asset_id, following.segment_index) = (s.asset_id, s.segment_index + 1)
where s.place <= :hits
order by s.asset_id, s.segment_index;

-- name: search_screen
-- The surest lines of text on screen of some assets, each text once, where it is first seen, with what is said there.
select
    line.asset_id, frame.time_s, line.text, line.frames, around.text as around,
    ts_headline(
        'simple', left(line.text, :longest), websearch_to_tsquery('simple', :query),
        'HighlightAll=true, StartSel=' || :start || ', StopSel=' || :stop
    ) as marked
from (
    select
        asset_id, text, min(frame_index) as frame_index, count(distinct frame_index) as frames,
        row_number() over (partition by asset_id order by max(confidence) desc, min(frame_index), text) as place
    from frame_text
    where asset_id = any(cast(:assets as text[])) and search @@ websearch_to_tsquery('simple', :query)
    group by asset_id, text
) as line
join frame using (asset_id, frame_index)
left join lateral (
    select text from transcript_segment
    where asset_id = line.asset_id and start_s <= frame.time_s and end_s >= frame.time_s - :near_s
    order by segment_index desc
    limit 1
) as around on true
where line.place <= :hits
order by line.asset_id, frame.time_s, line.text;

-- name: search_objects
-- Where some assets show objects: of each shot the surest frame, with what is said there.
select surest.asset_id, surest.label, surest.confidence, surest.time_s, around.text as around
from (
    select
        *, row_number() over (partition by asset_id order by confidence desc, time_s, label) as place
    from (
        select distinct on (d.asset_id, d.label, f.shot_index) d.asset_id, d.label, d.confidence, f.time_s
        from detection as d
        join frame as f using (asset_id, frame_index)
        where d.asset_id = any(cast(:assets as text[])) and d.label = any(cast(:labels as text[]))
        order by d.asset_id, d.label, f.shot_index, d.confidence desc, f.time_s
    ) as of_shot
) as surest
left join lateral (
    select text from transcript_segment
    where asset_id = surest.asset_id and start_s <= surest.time_s and end_s >= surest.time_s - :near_s
    order by segment_index desc
    limit 1
) as around on true
where surest.place <= :hits
order by surest.asset_id, surest.time_s, surest.label;

-- name: search_names
-- Where some assets name something that begins so: the whole name first. Offsets count characters of the utterance.
select
    named.asset_id, named.text as name, named.label, named.start_offset, named.end_offset,
    s.start_s, s.text, previous.text as before, following.text as after
from (
    select
        *,
        row_number() over (
            partition by asset_id order by lower(text) <> lower(:name), segment_index, start_offset, entity_index
        ) as place
    from entity
    where asset_id = any(cast(:assets as text[]))
        and left(lower(text), 200) like
            replace(replace(replace(left(lower(:name), 200), '\', '\\'), '%', '\%'), '_', '\_') || '%'
) as named
join transcript_segment as s using (asset_id, segment_index)
left join transcript_segment as previous
    on (previous.asset_id, previous.segment_index) = (named.asset_id, named.segment_index - 1)
left join transcript_segment as following
    on (following.asset_id, following.segment_index) = (named.asset_id, named.segment_index + 1)
where named.place <= :hits
order by named.asset_id, named.segment_index, named.start_offset;

-- name: describe_assets
-- What a list shows of assets: a place, preferably one where the file still is, and what their contact sheets hold.
select
    a.asset_id, a.duration_s, a.has_video, t.language, l.root, l.path, l.vanished_at,
    v.frame_count, v.interval_s, sheet.fingerprint as sheet_fingerprint
from media_asset as a
left join transcript as t using (asset_id)
left join vision_analysis as v using (asset_id)
left join lateral (
    select root, path, vanished_at
    from media_location
    where asset_id = a.asset_id
    order by vanished_at is not null, seen_at desc, root, path
    limit 1
) as l on true
left join lateral (
    select c.fingerprint
    from current_result as c
    join stage_result as r using (asset_id, stage, fingerprint)
    where c.asset_id = a.asset_id and c.stage = 'vision.analyze'
        and r.files @> jsonb_build_array(jsonb_build_object('name', cast(:sheet as text)))
) as sheet on true
where a.asset_id = any(cast(:assets as text[]));

-- name: newest_assets
-- Those of which something was published last.
select asset_id
from (select asset_id, published_at from stage_result order by published_at desc limit 20 * cast(:limit as bigint)) as latest
group by asset_id
order by max(published_at) desc, asset_id
limit :limit;

-- name: archive_totals
select
    (select count(*) from media_asset) as assets,
    (select count(*) from transcript) as transcripts,
    (select count(*) from vision_analysis) as analyses,
    (select coalesce(sum(duration_s), 0) from media_asset) as media_s;

-- name: asset_facts
select asset_id, size_bytes, first_seen_at, duration_s, probe from media_asset where asset_id = :asset_id;

-- name: asset_places
-- Where it lies: first the places where it still is. What tells a file from another is held against the file.
select root, path, size_bytes, mtime_ns, seen_at, vanished_at
from media_location
where asset_id = :asset_id
order by vanished_at is not null, root, path
limit :limit;

-- name: asset_results
-- Of each stage what is current, with its files.
select
    c.stage, c.fingerprint, r.status, r.reason, r.message, r.stage_version, r.variant, r.compute_type, r.models,
    r.finished_at, r.files
from current_result as c
join stage_result as r using (asset_id, stage, fingerprint)
where c.asset_id = :asset_id;

-- name: asset_runs
-- The latest runs that were asked for it, and what became of it there.
select i.dag_id, i.run_id, i.root, i.path, i.outcome, i.reason, i.message, p.started_at
from run_item as i
join processing_run as p using (dag_id, run_id)
where i.asset_id = :asset_id
order by p.started_at desc, i.root, i.path
limit :limit;

-- name: asset_failure
select failures, failed_at, not_before, reason from asset_failure where asset_id = :asset_id;

-- name: asset_utterances
-- Lines of the transcript, with their tone.
select s.segment_index, s.start_s, s.end_s, s.text, m.label as tone
from transcript_segment as s
left join sentiment as m on (m.asset_id, m.segment_index) = (s.asset_id, s.segment_index)
where s.asset_id = :asset_id
order by s.segment_index
limit :limit offset :offset;

-- name: asset_utterance_at
-- How many utterances come before the one that is spoken at a time, or was last.
select greatest(count(*) - 1, 0) from transcript_segment where asset_id = :asset_id and start_s <= :time_s;

-- name: asset_objects
-- When each kind of object is seen: runs of frames that follow on one another, the first :spans of each kind.
with seen as (
    select
        label, frame_index, max(confidence) as confidence,
        frame_index - row_number() over (partition by label order by frame_index) as island
    from detection
    where asset_id = :asset_id
    group by label, frame_index
),
span as (
    select
        label, min(frame_index) as first, max(frame_index) as last, count(*) as frames,
        max(confidence) as confidence,
        row_number() over (partition by label order by min(frame_index)) as number
    from seen
    group by label, island
),
kind as (
    select label, sum(frames) as frames, max(confidence) as confidence, count(*) as spans
    from span
    group by label
    order by frames desc, label
    limit :limit
)
select
    kind.label, kind.frames, kind.confidence, kind.spans, began.time_s as start_s, ended.time_s + v.interval_s as end_s
from kind
join span on span.label = kind.label and span.number <= :spans
join vision_analysis as v on v.asset_id = :asset_id
join frame as began on (began.asset_id, began.frame_index) = (v.asset_id, span.first)
join frame as ended on (ended.asset_id, ended.frame_index) = (v.asset_id, span.last)
order by kind.frames desc, kind.label, span.number;

-- name: asset_names
-- What is named in it, and when.
select e.text, e.label, count(*) as mentions, (array_agg(s.start_s order by s.start_s))[1 : :times] as times_s
from entity as e
join transcript_segment as s using (asset_id, segment_index)
where e.asset_id = :asset_id
group by e.text, e.label
order by mentions desc, e.text, e.label
limit :limit;

-- name: asset_screen_texts
-- What is read on screen, in how many frames, and from when on.
select x.text, count(distinct x.frame_index) as frames, max(x.confidence) as confidence, min(f.time_s) as start_s
from frame_text as x
join frame as f using (asset_id, frame_index)
where x.asset_id = :asset_id
group by x.text
order by start_s, x.text
limit :limit;

-- name: asset_tags
-- Labels that suit it, by the surest frame.
select label, max(score) as score, count(*) as frames
from frame_tag
where asset_id = :asset_id
group by label
order by frames desc, score desc, label
limit :limit;

-- name: asset_shots
select shot_index, start_s, end_s from shot where asset_id = :asset_id order by shot_index limit :limit;

-- name: asset_analysis
select
    interval_s, frame_count, detector_model,
    (select count(*) from shot as s where s.asset_id = v.asset_id) as shots
from vision_analysis as v
where asset_id = :asset_id;

-- name: asset_sound
select integrated_lufs from extracted_audio where asset_id = :asset_id;

-- Pages: timings ------------------------------------------------------------------------------------------------------

-- name: list_timed_dags
-- One step of the primary key's index per DAG.
with recursive dag as (
    (select dag_id from processing_run order by dag_id limit 1)
    union all
    select (select r.dag_id from processing_run as r where r.dag_id > dag.dag_id order by r.dag_id limit 1)
    from dag
    where dag.dag_id is not null
)
select dag_id from dag where dag_id is not null;

-- name: page_timed_runs
-- The last that began first. A run that goes on is reckoned up to now.
with shown as (
    select
        dag_id, run_id, started_at, outcome, coalesce(covered_s, 0) as covered_s,
        extract(epoch from greatest(coalesce(finished_at, now()), started_at) - least(queued_at, started_at))
            ::double precision as wall_s
    from processing_run
    where (cast(:dag_id as text) is null or dag_id = :dag_id)
        and (cast(:run_id as text) is null or run_id = :run_id)
        and (cast(:outcome as text) is null or outcome = :outcome)
        and started_at >= coalesce(cast(:since as timestamptz), '-infinity')
        and started_at < coalesce(cast(:until as timestamptz), 'infinity')
    order by started_at desc, dag_id, run_id
    limit :limit offset :offset
)
select s.*, item.assets, item.media_s, spent.wait_s, spent.overhead_s, spent.work_s
from shown as s
cross join lateral (
    select count(*) as assets, coalesce(sum(m.duration_s), 0) as media_s
    from (
        select distinct i.asset_id
        from run_item as i
        where (i.dag_id, i.run_id) = (s.dag_id, s.run_id) and i.asset_id is not null
    ) as i
    left join media_asset as m using (asset_id)
) as item
cross join lateral (
    select
        coalesce(sum(a.wait_s), 0) as wait_s, coalesce(sum(a.overhead_s), 0) as overhead_s,
        coalesce(sum(a.work_s), 0) as work_s
    from stage_attempt as a
    where (a.dag_id, a.run_id) = (s.dag_id, s.run_id)
) as spent
order by s.started_at desc, s.dag_id, s.run_id;

-- name: list_phase_percentiles
-- From the counts by duration. A percentile is the mean of the bucket in which it lies, of buckets 10 % wide.
with
counted as (
    select
        part, phase, variant, device, model_names, compute_type, duration_bucket,
        sum(occurrences) as occurrences, sum(total_s) as total_s
    from phase_count
    where night between :first_night and :last_night
    group by part, phase, variant, device, model_names, compute_type, duration_bucket
),
summed as (
    select
        *, total_s / occurrences as mean_s,
        sum(occurrences) over same as n, sum(total_s) over same as sum_s,
        sum(occurrences) over (same order by duration_bucket) as reached
    from counted
    window same as (partition by part, phase, variant, device, model_names, compute_type)
)
select
    part, phase, variant, device, model_names, compute_type, n::bigint as n, sum_s,
    min(mean_s) filter (where reached >= 0.5 * n) as p50_s,
    min(mean_s) filter (where reached >= 0.95 * n) as p95_s,
    min(mean_s) filter (where reached >= 0.99 * n) as p99_s
from summed
group by part, phase, variant, device, model_names, compute_type, n, sum_s
order by part, sum(sum_s) over (partition by part, phase) desc, phase, variant, device, model_names, compute_type
limit :limit;

-- name: list_stage_nights
-- What attempts of runs that began in a time did, by the night: noon to noon by the clocks of the zone.
with run as materialized (
    select dag_id, run_id, ((started_at at time zone :zone) - interval '12 hours')::date as night
    from processing_run
    where started_at >= :since and started_at < :until
)
select
    r.night, a.stage, a.variant,
    sum(a.wait_s) as wait_s, sum(a.overhead_s) as overhead_s, sum(a.work_s) as work_s, sum(a.media_s) as media_s
from run as r
join stage_attempt as a using (dag_id, run_id)
group by r.night, a.stage, a.variant
order by r.night, a.stage, a.variant;

-- name: list_slowest_assets
-- Of runs that began in a time. By their work, or by their work per second of media. An asset may lie at several places of
-- a run: that is seen to where few are left.
with
first_places as (
    select
        i.dag_id, i.run_id, i.asset_id, i.root || '/' || i.path as name, i.work_s, i.media_s,
        i.work_s / nullif(i.media_s, 0) as ratio,
        case when cast(:by_ratio as boolean) then i.work_s / nullif(i.media_s, 0) else i.work_s end as rank
    from processing_run as r
    join run_item as i using (dag_id, run_id)
    where r.started_at >= :since and r.started_at < :until and i.work_s > 0
    order by rank desc nulls last
    limit 4 * cast(:limit as integer)
),
slowest as (
    select dag_id, run_id, asset_id, min(name) as name, work_s, media_s, ratio, rank
    from first_places
    group by dag_id, run_id, asset_id, work_s, media_s, ratio, rank
    order by rank desc nulls last, asset_id, run_id
    limit :limit
)
select
    s.dag_id, s.run_id, s.asset_id, s.work_s, s.media_s, s.ratio, s.name,
    longest.part, longest.phase, longest.duration_s as longest_s
from slowest as s
left join lateral (
    select p.part, p.phase, p.duration_s
    from phase_report as p
    where p.asset_id = s.asset_id and (p.dag_id, p.run_id) = (s.dag_id, s.run_id) and p.kind = 'work'
    order by p.duration_s desc
    limit 1
) as longest on true
order by s.rank desc nulls last, s.asset_id, s.run_id;

-- name: list_lanes
-- The attempts of a run, or of one task in it, with the time from their first phase to their last.
select
    a.task_id, a.map_index, a.try_number, a.stage, a.variant, a.device, a.outcome, a.message, a.joined_try_number,
    least(a.started_at, phase.started_at) as begins_at,
    greatest(a.finished_at, phase.ended_at, a.started_at) as ends_at,
    a.finished_at is null as is_running
from stage_attempt as a
cross join lateral (
    select min(p.started_at) as started_at, max(p.started_at + p.span_s * interval '1 second') as ended_at
    from phase_timing as p
    where (p.dag_id, p.run_id, p.task_id, p.map_index, p.try_number)
        = (a.dag_id, a.run_id, a.task_id, a.map_index, a.try_number)
) as phase
where (a.dag_id, a.run_id) = (:dag_id, :run_id)
    and (cast(:task_id as text) is null or (a.task_id, a.map_index) = (:task_id, :map_index))
order by begins_at, a.task_id, a.map_index, a.try_number
limit :limit;

-- name: list_bars
-- Phases that last :least_s or more, one by one; shorter ones of an attempt together, as far as they begin within the same
-- :least_s. number is the place in the order of page_phases of the phase, or of the first of them.
with phase as (
    select
        p.*,
        row_number() over (order by p.started_at, p.task_id, p.map_index, p.try_number, p.sequence) as number,
        case when p.span_s >= :least_s then p.sequence else -1 end as alone,
        floor(extract(epoch from p.started_at - cast(:begins_at as timestamptz)) / :least_s) as slot
    from phase_report as p
    where (p.dag_id, p.run_id) = (:dag_id, :run_id)
        and (cast(:task_id as text) is null or (p.task_id, p.map_index) = (:task_id, :map_index))
)
select
    task_id, map_index, try_number, min(number) as number, count(*) as phases,
    min(phase) as phase, min(started_at) as begins_at, max(ended_at) as ends_at, sum(duration_s) as duration_s,
    coalesce(sum(duration_s) filter (where kind = 'wait'), 0) as wait_s,
    coalesce(sum(duration_s) filter (where kind = 'overhead'), 0) as overhead_s,
    coalesce(sum(duration_s) filter (where kind = 'work'), 0) as work_s,
    count(*) filter (where outcome = 'failed') as failed,
    count(*) filter (where outcome = 'interrupted') as interrupted
from phase
group by task_id, map_index, try_number, slot, alone
order by begins_at, number;

-- name: page_phases
-- The phases of a run, or of one task in it, as they began.
with shown as (
    select p.*
    from phase_report as p
    where (p.dag_id, p.run_id) = (:dag_id, :run_id)
        and (cast(:task_id as text) is null or (p.task_id, p.map_index) = (:task_id, :map_index))
    order by p.started_at, p.task_id, p.map_index, p.try_number, p.sequence
    limit :limit offset :offset
)
select
    s.task_id, s.map_index, s.try_number, s.phase, s.kind, s.variant, s.device, s.asset_id, place.name,
    s.started_at, s.duration_s, s.span_s, s.outcome, s.counters, s.peak_rss_mib, s.peak_vram_mib
from shown as s
left join lateral (
    select i.root || '/' || i.path as name
    from run_item as i
    where (i.dag_id, i.run_id, i.asset_id) = (s.dag_id, s.run_id, s.asset_id)
    order by i.root, i.path
    limit 1
) as place on true
order by s.started_at, s.task_id, s.map_index, s.try_number, s.sequence;

-- name: page_task_attempts
-- At one task over all runs, the last that began first.
select
    run_id, map_index, try_number, variant, device, model_names.value as model_names, compute_type, outcome, message,
    started_at, extract(epoch from coalesce(finished_at, now()) - started_at)::double precision as wall_s,
    wait_s, overhead_s, work_s, media_s
from stage_attempt
cross join lateral (
    select array_to_string(array(select model ->> 'name' from jsonb_array_elements(models) as model order by 1), '+')
) as model_names (value)
where (dag_id, task_id) = (:dag_id, :task_id)
order by started_at desc, run_id, map_index, try_number
limit :limit offset :offset;

-- name: list_task_phases
-- How long the phases of a task's last attempts took.
select
    p.phase, p.kind, p.variant, p.device, count(*) as n, sum(p.duration_s) as sum_s,
    percentile_cont(0.5) within group (order by p.duration_s) as p50_s,
    percentile_cont(0.95) within group (order by p.duration_s) as p95_s,
    max(p.duration_s) as longest_s, max(p.peak_rss_mib) as peak_rss_mib, max(p.peak_vram_mib) as peak_vram_mib
from (
    select dag_id, run_id, task_id, map_index, try_number
    from stage_attempt
    where (dag_id, task_id) = (:dag_id, :task_id)
    order by started_at desc
    limit :attempts
) as a
join phase_report as p using (dag_id, run_id, task_id, map_index, try_number)
group by p.phase, p.kind, p.variant, p.device
order by sum_s desc, p.phase, p.variant, p.device;
