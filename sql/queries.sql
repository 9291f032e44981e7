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
    rejection_message = excluded.rejection_message;

-- name: find_asset_locations
-- Where these assets were last seen, the latest sighting first.
select asset_id, root, path, size_bytes, mtime_ns
from media_location
where asset_id = any(cast(:asset_ids as text[]))
order by asset_id, seen_at desc, root, path;


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
-- The same try may begin again after a deferral: it keeps its first start.
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
-- Records come as one JSON list. Those already there stay as they are, so that writing twice changes nothing.
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
on conflict (dag_id, run_id, task_id, map_index, try_number, phase, asset_id, started_at) do nothing;


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
limit :limit;

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
limit :limit;

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


-- Search ----------------------------------------------------------------------------------------------------------

-- name: search_transcripts
-- Utterances that say it, best first: words, "phrases in quotes", or, -not. «» mark the hits.
select
    s.asset_id, s.segment_index, s.start_s, s.end_s, t.language, l.root, l.path,
    ts_headline('simple', s.text, q.query, 'HighlightAll=true, StartSel=«, StopSel=»') as excerpt,
    ts_rank(s.search, q.query) as rank
from websearch_to_tsquery('simple', :query) as q (query)
join transcript_segment as s on s.search @@ q.query
join transcript as t using (asset_id)
left join lateral (
    select root, path from media_location where asset_id = s.asset_id order by seen_at desc, root, path limit 1
) as l on true
where t.language = :language or cast(:language as text) is null
order by rank desc, s.asset_id, s.segment_index
limit :limit offset :offset;

-- name: search_frame_texts
-- Lines of text on screen, the most confident first.
select f.asset_id, f.frame_index, frame.time_s, f.text, f.confidence
from websearch_to_tsquery('simple', :query) as q (query)
join frame_text as f on f.search @@ q.query
join frame using (asset_id, frame_index)
order by f.confidence desc, f.asset_id, f.frame_index, f.line_index
limit :limit offset :offset;

-- name: find_label
-- Assets that show an object: in how many frames, how sure, and from when on.
select
    d.asset_id, count(distinct d.frame_index) as frames, max(d.confidence) as confidence, min(frame.time_s) as first_s
from detection as d
join frame using (asset_id, frame_index)
where d.label = :label and d.confidence >= :confidence
group by d.asset_id
order by frames desc, d.asset_id
limit :limit offset :offset;

-- name: find_entity
-- Assets that name something starting with these words.
select asset_id, label, min(text) as text, count(*) as mentions
from entity
where left(lower(text), 200) like
    replace(replace(replace(left(lower(:text), 200), '\', '\\'), '%', '\%'), '_', '\_') || '%'
group by asset_id, label, lower(text)
order by mentions desc, asset_id, label, text
limit :limit offset :offset;


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
    select tstzrange(least(queued_at, started_at), greatest(coalesce(finished_at, now()), started_at), '[)') as wall
    from processing_run
    where (dag_id, run_id) = (:dag_id, :run_id)
),
covered as (
    select coalesce(range_agg(tstzrange(started_at, ended_at, '[)')), tstzmultirange()) as spans
    from phase_report
    where (dag_id, run_id) = (:dag_id, :run_id)
),
gap as (
    select lower(g) as started_at, extract(epoch from upper(g) - lower(g)) as duration_s
    from run
    cross join covered
    cross join unnest(tstzmultirange(run.wall) - covered.spans) as g
    order by duration_s desc
    limit 1
)
select
    length.wall_s,
    sum_of_spans.covered_s,
    sum_of_spans.covered_s / nullif(length.wall_s, 0) as share,
    extract(epoch from gap.started_at - lower(run.wall))::double precision as longest_gap_at_s,
    coalesce(gap.duration_s, 0)::double precision as longest_gap_s
from run
cross join covered
cross join lateral (
    select coalesce(extract(epoch from upper(run.wall) - lower(run.wall)), 0)::double precision as wall_s
) as length
cross join lateral (
    select coalesce(sum(extract(epoch from upper(span) - lower(span))), 0)::double precision as covered_s
    from unnest(tstzmultirange(run.wall) * covered.spans) as span
) as sum_of_spans
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
    where outcome not in ('running', 'done', 'reused', 'rejected')
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
