-- Phases of an asset overlap: vision.analyze decodes beside its models. The time that an asset takes is the union of the
-- spans of its work in an attempt, not their sum.

create function length_s(spans tstzmultirange) returns double precision
language sql immutable parallel safe
return (select coalesce(sum(extract(epoch from upper(span) - lower(span))), 0) from unnest(spans) as span);
comment on function length_s is 'Seconds that the ranges hold together; 0 for none and for null.';

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
    floor(ln(greatest(p.duration_s, 0.001)) / ln(1.1::double precision))::integer as duration_bucket,
    tstzrange(p.started_at, p.started_at + p.span_s * interval '1 second', '[)') as span
from phase_timing as p
join stage_attempt as a using (dag_id, run_id, task_id, map_index, try_number);
comment on column phase_report.span is 'From started_at to ended_at. Spans of one asset overlap where its phases come in turns, or go on side by side.';

comment on column stage_attempt.wait_s is 'Time of its phases of that kind, like the column after it, summed as they are recorded.';
comment on column stage_attempt.work_s is 'Length of the union of the spans of each asset''s phases of kind work, summed over assets.';
update stage_attempt as a set work_s = spent.work_s
from (
    select dag_id, run_id, task_id, map_index, try_number, sum(work_s) as work_s
    from (
        select p.dag_id, p.run_id, p.task_id, p.map_index, p.try_number, length_s(range_agg(p.span)) as work_s
        from phase_report as p
        where p.kind = 'work'
        group by p.dag_id, p.run_id, p.task_id, p.map_index, p.try_number, p.asset_id
    ) as i
    group by dag_id, run_id, task_id, map_index, try_number
) as spent
where (a.dag_id, a.run_id, a.task_id, a.map_index, a.try_number)
    = (spent.dag_id, spent.run_id, spent.task_id, spent.map_index, spent.try_number);

comment on column run_item.work_s is 'Time of all work on the asset in this run: in each attempt the union of spans, summed over attempts when the run ends.';
update run_item as i set work_s = spent.work_s
from (
    select dag_id, run_id, asset_id, sum(work_s) as work_s
    from (
        select p.dag_id, p.run_id, p.asset_id, length_s(range_agg(p.span)) as work_s
        from phase_report as p
        where p.kind = 'work' and p.asset_id is not null
        group by p.dag_id, p.run_id, p.task_id, p.map_index, p.try_number, p.asset_id
    ) as a
    group by dag_id, run_id, asset_id
) as spent
where (i.dag_id, i.run_id, i.asset_id) = (spent.dag_id, spent.run_id, spent.asset_id);

comment on column benchmark_timing.phase is 'A phase, or total, as in benchmark_figure.';
comment on column benchmark_figure.phase is 'A phase, or total: the time in which any phase went on, without the container''s start. Before it was kept in benchmark_timing too, it was their sum.';
