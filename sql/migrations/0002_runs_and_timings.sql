-- Runs, their items, attempts at tasks, and how long each phase took.

create table processing_run (
    dag_id text not null,
    run_id text not null,
    parameters jsonb not null default '{}',
    queued_at timestamptz,
    started_at timestamptz not null,
    finished_at timestamptz,
    outcome text not null check (outcome in ('running', 'done', 'failed', 'left', 'cancelled')),
    primary key (dag_id, run_id),
    check ((outcome = 'running') = (finished_at is null))
);
create index processing_run_started on processing_run (started_at);
comment on table processing_run is 'One Airflow DAG run: one shard of assets.';
comment on column processing_run.queued_at is 'When Airflow created the run. A run that was cleared has the times of its last go.';
comment on column processing_run.outcome is 'done: no item failed or is left (rejected ones count as done). left: urgent work came first.';

create table run_item (
    dag_id text not null,
    run_id text not null,
    root text not null,
    path text not null,
    asset_id sha256_hex references media_asset on delete set null,
    outcome text not null check (outcome in ('pending', 'done', 'rejected', 'failed', 'left')),
    reason rejection_reason,
    message text not null default '',
    primary key (dag_id, run_id, root, path),
    foreign key (dag_id, run_id) references processing_run on delete cascade,
    check ((outcome = 'rejected') = (reason is not null))
);
create index run_item_asset on run_item (asset_id);
comment on table run_item is 'A file that a run was asked to process, and what became of it.';
comment on column run_item.path is 'Relative to the root. Bytes that are not UTF-8 are written \xNN.';
comment on column run_item.asset_id is 'Null when the file could not be registered, or the asset was deleted since.';

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
            'cancelled'
        )
    ),
    exit_code integer,
    message text not null default '',
    items_done integer not null default 0 check (items_done >= 0),
    items_reused integer not null default 0 check (items_reused >= 0),
    items_rejected integer not null default 0 check (items_rejected >= 0),
    items_failed integer not null default 0 check (items_failed >= 0),
    items_left integer not null default 0 check (items_left >= 0),
    primary key (dag_id, run_id, task_id, map_index, try_number),
    foreign key (dag_id, run_id) references processing_run on delete cascade,
    check (joined_try_number < try_number),
    check ((outcome = 'running') = (finished_at is null))
);
create index stage_attempt_stage on stage_attempt (stage, variant, device, started_at);
comment on table stage_attempt is 'One attempt at one task of a run, whether it starts a container or not.';
comment on column stage_attempt.map_index is '-1 for a task that is not mapped.';
comment on column stage_attempt.stage is 'Null for tasks without a container, such as find_assets and publish.';
comment on column stage_attempt.device is 'cpu, or the UUID of a GPU or MIG slice.';
comment on column stage_attempt.models is 'The models that took part (list of ModelRef).';
comment on column stage_attempt.joined_try_number is 'The earlier try whose running container this one took over.';
comment on column stage_attempt.upstream_finished_at is 'When the last task before this one ended; the wait for a slot runs from here.';
comment on column stage_attempt.outcome is 'lost: the worker died without a word, and a later try found it so.';

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
        when p.phase = 'queue' then 'wait'
        when p.phase in ('task_start', 'prepare', 'container_start', 'collect', 'import', 'model_load') then 'overhead'
        else 'work'
    end as kind
from phase_timing as p
join stage_attempt as a using (dag_id, run_id, task_id, map_index, try_number);
comment on view phase_report is 'Phases with the variant, device, models and compute type of their attempt.';
comment on column phase_report.kind is 'wait: for a slot. overhead: what a container costs before and after its work. work: the rest.';
