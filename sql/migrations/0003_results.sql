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
