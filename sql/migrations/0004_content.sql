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
