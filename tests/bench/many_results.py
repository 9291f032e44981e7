"""Results of any number of assets, generated in Postgres: what searches and the assets' pages are measured on."""

from sqlalchemy import Connection, Engine, text

LABELS = (
    "person", "chair", "car", "book", "bottle", "cup", "dog", "cat", "bird", "horse", "boat", "train", "truck", "bus",
    "traffic light", "hot dog", "tv", "laptop", "tie", "clock",
)  # fmt: skip
LANGUAGES = ("en", "en", "en", "de", "fr")
VOCABULARY = 5_000
WORDS_A_SEGMENT = 12
SEGMENT_S = 5.0
DETECTIONS_A_FRAME = 3
SCREEN_TEXTS = 10
ENTITIES = 20
PHRASES = 10
SHOT_FRAMES = 10
PROBE = (
    '{"sha256": "", "size_bytes": 1, "container": "mov,mp4,m4a,3gp,3g2,mj2", "duration_s": 1000.0, '
    '"video": [{"index": 0, "codec": "h264", "width_px": 1280, "height_px": 720}], '
    '"audio": [{"index": 1, "codec": "aac", "sample_rate_hz": 44100, "channels": 2}]}'
)

# A few words are in most utterances and most in few, as in speech: one in eight is `word0`, one in 60,000 `word4999`.
WORD = "'word' || floor(:vocabulary * power(random(), 4))"
ANY_WORD = "'word' || floor(:vocabulary * random())"
DRAWN = {"<word>": WORD, "<any_word>": ANY_WORD, "<utterance>": " || ' ' || ".join([WORD] * WORDS_A_SEGMENT)}

STEPS: tuple[str, ...] = (
    "select setseed(0.5)",
    """
    create temporary table made on commit drop as
    select n, encode(sha256(cast('made ' || n as bytea)), 'hex') as asset_id from generate_series(0, :assets - 1) as n
    """,
    """
    insert into media_asset (asset_id, size_bytes, first_seen_at, container, duration_s, has_audio, has_video, probe)
    select asset_id, 1000000 + n, now() - (:assets - n) * interval '1 minute', 'mov,mp4,m4a,3gp,3g2,mj2',
        :segments * :segment_s, true, true, cast(:probe as jsonb)
    from made
    """,
    """
    insert into media_location (root, path, asset_id, size_bytes, mtime_ns, inode, seen_at)
    select 'archive', format('%s/%s/film %s.mp4', 2000 + n % 25, n % 100, n), asset_id, 1000000 + n, 0, n, now()
    from made
    """,
    """
    insert into stage_result (
        asset_id, stage, fingerprint, status, stage_version, variant, compute_type, models, parameters, inputs, files,
        task, finished_at, published_at
    )
    select asset_id, stage, left(asset_id, 24), 'done', '1', 'cpu', 'float32', '[]', '{}', '{}', '[]', '{}', now(),
        now() - (:assets - n) * interval '1 minute'
    from made
    cross join unnest(cast(:stages as text[])) as stage
    """,
    "insert into current_result select asset_id, stage, fingerprint from stage_result join made using (asset_id)",
    "create temporary table spoken on commit drop as select asset_id, n, segment, <utterance> as text "
    "from made cross join generate_series(0, :segments - 1) as segment",
    """
    insert into transcript (asset_id, language, language_probability, duration_s, speech_duration_s, text)
    select asset_id, (cast(:languages as text[]))[1 + n % cardinality(cast(:languages as text[]))], 0.9,
        :segments * :segment_s, :segments * :segment_s * 0.9, string_agg(text, ' ' order by segment)
    from spoken
    group by asset_id, n
    """,
    """
    insert into transcript_segment (
        asset_id, segment_index, start_s, end_s, text, mean_log_probability, no_speech_probability, words
    )
    select asset_id, segment, segment * :segment_s, (segment + 1) * :segment_s, text, -0.2, 0.01, '[]'
    from spoken
    order by n, segment
    """,
    """
    insert into vision_analysis
    select asset_id, 0, 1280, 720, :segments * :segment_s / :frames, :frames, 'yolov8n', 'clip-vit-b-32', 512, true
    from made
    """,
    """
    insert into shot
    select asset_id, shot, shot * :shot_frames * i.interval_s, (shot + 1) * :shot_frames * i.interval_s
    from made
    cross join generate_series(0, (:frames - 1) / :shot_frames) as shot
    cross join (select :segments * :segment_s / :frames as interval_s) as i
    """,
    """
    insert into frame
    select asset_id, f, f * :segments * :segment_s / :frames, f / :shot_frames, 127, 40, 300, '[]'
    from made
    cross join generate_series(0, :frames - 1) as f
    """,
    """
    insert into detection
    select asset_id, f, d,
        (cast(:labels as text[]))[1 + floor(cardinality(cast(:labels as text[])) * power(random(), 3))],
        0.3 + 0.7 * random(), 10, 20, 30, 40
    from made
    cross join generate_series(0, :frames - 1) as f
    cross join generate_series(1, :detections) as d
    """,
    "insert into frame_text select asset_id, (line * 7) % :frames, line, <word> || ' ' || <any_word>, 0.9, 1, 2, 3, 4 "
    "from made cross join generate_series(0, :texts - 1) as line",
    "insert into enrichment select asset_id, 'en', 'spacy', 'vader' from made",
    "insert into entity select asset_id, e, e % :segments, 0, 4, initcap(<word>) || ' ' || initcap(<any_word>), "
    "(array['PER', 'LOC', 'ORG'])[1 + e % 3] from made cross join generate_series(0, :entities - 1) as e",
    "insert into key_phrase select asset_id, p, <any_word>, :phrases - p, 2 "
    "from made cross join generate_series(0, :phrases - 1) as p",
    "insert into sentiment select asset_id, null, 'neutral', 0 from made",
)


def fill_results(database: Engine, assets: int = 10_000, segments: int = 200, frames: int = 60) -> None:
    """Add assets with results of every stage; each takes `segments` utterances of five seconds.

    The full database of the defaults has 2,000,000 utterances and 1,800,000 detections, and takes some minutes.
    """
    values = {
        "assets": assets,
        "segments": segments,
        "frames": frames,
        "vocabulary": VOCABULARY,
        "segment_s": SEGMENT_S,
        "shot_frames": SHOT_FRAMES,
        "probe": PROBE,
        "stages": ["media.probe", "media.extract", "audio.transcribe", "vision.analyze", "nlp.enrich"],
        "languages": list(LANGUAGES),
        "labels": list(LABELS),
        "detections": DETECTIONS_A_FRAME,
        "texts": SCREEN_TEXTS,
        "entities": ENTITIES,
        "phrases": PHRASES,
    }
    with database.begin() as connection:
        for step in STEPS:
            _run(connection, step, values)
    with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # One process: the shared memory of a container is small.
        connection.execute(text("vacuum (analyze, parallel 0)"))


def _run(connection: Connection, step: str, values: dict[str, object]) -> None:
    for name, expression in DRAWN.items():
        step = step.replace(name, expression)
    statement = text(step)
    connection.execute(statement, {name: values[name] for name in statement.compile().params})
