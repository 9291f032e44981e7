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

alter table stage_attempt drop constraint stage_attempt_outcome_check;
alter table stage_attempt add constraint stage_attempt_outcome_check check (
    outcome in (
        'running', 'done', 'rejected', 'reused', 'stepped_aside', 'failed', 'device_failed', 'transient', 'lost',
        'cancelled', 'moved'
    )
);
alter table stage_attempt add column lease_id bigint references gpu_lease;
comment on column stage_attempt.outcome is
    'lost: the worker died without a word, and a later try found it so. moved: it handed its work to the CPU before it began.';
comment on column stage_attempt.lease_id is 'The claim on a GPU under which it ran.';

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

create or replace view phase_report as
select
    p.dag_id, p.run_id, p.task_id, p.map_index, p.try_number, p.sequence,
    a.stage, a.variant, a.device, a.models, a.compute_type, a.image, a.image_digest, a.outcome as attempt_outcome,
    p.phase, p.asset_id, p.started_at,
    p.started_at + p.span_s * interval '1 second' as ended_at,
    p.duration_s, p.span_s, p.outcome, p.counters, p.peak_rss_mib, p.peak_vram_mib,
    case
        when p.phase in ('queue', 'branch', 'lease') then 'wait'
        when p.phase in ('task_start', 'prepare', 'container_start', 'collect', 'import', 'model_load') then 'overhead'
        else 'work'
    end as kind
from phase_timing as p
join stage_attempt as a using (dag_id, run_id, task_id, map_index, try_number);
comment on column phase_report.kind is 'wait: for a slot, a GPU, or its VRAM. overhead: what a container costs before and after its work. work: the rest.';
