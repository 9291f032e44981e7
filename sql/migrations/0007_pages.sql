-- What the pages in Airflow's UI need to be quick.

-- VRAM over the last hours: the leases that ended since.
create index gpu_lease_ended on gpu_lease (ended_at) where device_uuid is not null;

-- Phase timings: across runs nothing is read phase by phase. Counts by duration give percentiles, sums by attempt and asset
-- the rest. They are written by those who record phases; here for all that were recorded before.
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
    end as kind,
    coalesce(a.stage, a.task_id) as part,
    array_to_string(array(select model ->> 'name' from jsonb_array_elements(a.models) as model order by 1), '+')
        as model_names,
    ((p.started_at at time zone 'UTC') - interval '12 hours')::date as night,
    floor(ln(greatest(p.duration_s, 0.001)) / ln(1.1::double precision))::integer as duration_bucket
from phase_timing as p
join stage_attempt as a using (dag_id, run_id, task_id, map_index, try_number);
comment on column phase_report.part is 'The stage, or the task where there is none.';
comment on column phase_report.model_names is 'Names of the models that took part, in alphabetical order, joined by "+".';
comment on column phase_report.night is 'The date on which it began, where days begin at noon, UTC.';
comment on column phase_report.duration_bucket is 'b: the phase took from 1.1^b to 1.1^(b+1) seconds; shorter ones than a millisecond are with it.';

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

insert into phase_count (
    night, part, phase, variant, device, model_names, compute_type, duration_bucket, occurrences, total_s
)
select night, part, phase, variant, device, model_names, compute_type, duration_bucket, count(*), sum(duration_s)
from phase_report
where outcome = 'done'
group by night, part, phase, variant, device, model_names, compute_type, duration_bucket;

alter table stage_attempt
    add column wait_s double precision not null default 0 check (wait_s >= 0),
    add column overhead_s double precision not null default 0 check (overhead_s >= 0),
    add column work_s double precision not null default 0 check (work_s >= 0),
    add column media_s double precision not null default 0 check (media_s >= 0);
comment on column stage_attempt.wait_s is 'Time of its phases by their kind, like the two columns after it, summed as they are recorded.';
comment on column stage_attempt.media_s is 'Length of the media whose phases all ended in order, as far as it is known.';
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
            coalesce(sum(p.duration_s) filter (where p.kind = 'work'), 0) as work_s,
            bool_and(p.outcome = 'done') as is_done
        from phase_report as p
        group by p.dag_id, p.run_id, p.task_id, p.map_index, p.try_number, p.asset_id
    ) as i
    left join media_asset as m using (asset_id)
    group by i.dag_id, i.run_id, i.task_id, i.map_index, i.try_number
) as spent
where (a.dag_id, a.run_id, a.task_id, a.map_index, a.try_number)
    = (spent.dag_id, spent.run_id, spent.task_id, spent.map_index, spent.try_number);

alter table run_item
    add column work_s double precision not null default 0 check (work_s >= 0),
    add column media_s double precision check (media_s >= 0);
comment on column run_item.work_s is 'Time of all work on the asset in this run, summed when the run ends.';
comment on column run_item.media_s is 'Length of the asset, as it was known then.';
update run_item as i set work_s = spent.work_s, media_s = m.duration_s
from (
    select p.dag_id, p.run_id, p.asset_id, sum(p.duration_s) as work_s
    from phase_report as p
    where p.kind = 'work' and p.asset_id is not null
    group by p.dag_id, p.run_id, p.asset_id
) as spent
left join media_asset as m using (asset_id)
where (i.dag_id, i.run_id, i.asset_id) = (spent.dag_id, spent.run_id, spent.asset_id);

-- The time that the phases of a run cover, for lists of runs.
alter table processing_run add column covered_s double precision check (covered_s >= 0);
comment on column processing_run.covered_s is 'How much of the time from its request to its end phases account for; so far, while it goes on.';
update processing_run as r set covered_s = (
    select coalesce(sum(extract(epoch from upper(span) - lower(span))), 0)::double precision
    from (
        select tstzmultirange(tstzrange(least(r.queued_at, r.started_at), greatest(coalesce(r.finished_at, 'infinity'), r.started_at), '[)'))
            * coalesce(range_agg(tstzrange(p.started_at, p.started_at + p.span_s * interval '1 second', '[)')),
                tstzmultirange()) as spans
        from phase_timing as p
        where (p.dag_id, p.run_id) = (r.dag_id, r.run_id)
    ) as covered
    cross join unnest(covered.spans) as span
);

-- The last attempts at one task.
create index stage_attempt_task on stage_attempt (dag_id, task_id, started_at);

-- CPU and GPU: the latest attempts of each stage and variant, whatever their device.
create index stage_attempt_recent on stage_attempt (stage, variant, started_at) where outcome = 'done';

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
comment on column benchmark_figure.phase is 'A phase, or total: all in the container, without its start.';
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

-- What ended in the last hour, for metrics.
create index stage_attempt_finished on stage_attempt (finished_at);

-- The archive: what was published last, and which languages are spoken.
create index stage_result_published on stage_result (published_at);
create index transcript_language on transcript (language);
