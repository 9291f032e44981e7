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
    primary key (root, path),
    check ((asset_id is null) = (rejection_reason is not null)),
    check ((rejection_reason is null) = (rejection_message is null)),
    check (asset_id is null or (size_bytes is not null and mtime_ns is not null and inode is not null))
);
create index media_location_asset on media_location (asset_id);
comment on table media_location is 'A file name that was looked at: the asset it holds, or why it could not be registered.';
comment on column media_location.root is 'Name of a folder of media, such as archive or inbox.';
comment on column media_location.path is 'Relative to the root.';
comment on column media_location.mtime_ns is 'Modification time, ns since 1970. With size and inode it tells whether to hash again.';
comment on column media_location.inode is 'Up to 64 bits without a sign, more than bigint holds.';
comment on column media_location.seen_at is 'When the file was last looked at.';
