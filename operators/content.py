"""What a result's files become in the database: one function per stage, rows in bulk."""

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import psycopg
import sqlalchemy.exc
from psycopg.types.json import Jsonb
from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection

from operators.clean_text import storable, storable_json
from operators.errors import NightreelError
from operators.queries import query, query_text
from stage_contract.outputs import (
    ENRICHMENT_FILE,
    EXTRACT_FILE,
    FRAMES_FILE,
    PROBE_FILE,
    TRANSCRIPT_FILE,
    VISION_FILE,
    Box,
    Enrichment,
    ExtractOutput,
    Frame,
    ProbeOutput,
    Transcript,
    VisionOutput,
)
from stage_contract.vocabulary import Stage

FRAME_BATCH = 500

Value = str | float | bool | Jsonb | None
Row = tuple[Value, ...]
Model = TypeVar("Model", bound=BaseModel)


class ContentError(NightreelError):
    """A complete result's files are not what the stage contract says."""


def write_content(connection: Connection, stage: Stage, asset_id: str, directory: Path) -> None:
    """Put what `stage` found out about an asset in place of what was there.

    Raises:
        ContentError: a file of the result is missing or breaks the contract.
    """
    try:
        WRITERS[stage](connection, asset_id, directory)
    except (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.DataError, psycopg.Error) as error:
        # Rows that are copied fail with the driver's own errors.
        why = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
        if isinstance(why, psycopg.IntegrityError | psycopg.DataError):
            raise ContentError(
                f"a result's values must fit the database's rules: {directory} breaks one: {why.diag.message_primary} "
                f"({why.diag.context or why.diag.message_detail or 'no detail'})"
            ) from error
        raise


def withdraw_enrichment(connection: Connection, asset_id: str) -> None:
    """Delete what `nlp.enrich` found: another transcript took the place of the one it read."""
    connection.execute(query("delete_enrichment"), {"asset_id": asset_id})


def _write_probe(connection: Connection, asset_id: str, directory: Path) -> None:
    probe = _read(directory / PROBE_FILE, ProbeOutput)
    row = {
        "asset_id": asset_id,
        "container": storable(probe.container),
        "duration_s": probe.duration_s,
        "has_audio": bool(probe.audio),
        "has_video": any(not stream.is_cover for stream in probe.video),
        "probe": json.dumps(storable_json(probe.model_dump(mode="json"))),
    }
    connection.execute(query("describe_asset"), row)


def _write_extract(connection: Connection, asset_id: str, directory: Path) -> None:
    audio = _read(directory / EXTRACT_FILE, ExtractOutput)
    connection.execute(query("delete_extracted_audio"), {"asset_id": asset_id})
    connection.execute(query("add_extracted_audio"), {"asset_id": asset_id, **audio.model_dump(exclude={"audio_file"})})


def _write_transcript(connection: Connection, asset_id: str, directory: Path) -> None:
    transcript = _read(directory / TRANSCRIPT_FILE, Transcript)
    connection.execute(query("delete_transcript"), {"asset_id": asset_id})
    whole = " ".join(segment.text.strip() for segment in transcript.segments)
    row = {**transcript.model_dump(exclude={"segments"}), "asset_id": asset_id, "text": storable(whole)}
    connection.execute(query("add_transcript"), row)
    segments = (
        (
            asset_id,
            segment.index,
            segment.start_s,
            segment.end_s,
            storable(segment.text.strip()),
            segment.mean_log_probability,
            segment.no_speech_probability,
            Jsonb(storable_json([word.model_dump(mode="json") for word in segment.words])),
        )
        for segment in transcript.segments
    )
    _copy(connection, "copy_transcript_segments", segments)


def _write_vision(connection: Connection, asset_id: str, directory: Path) -> None:
    vision = _read(directory / VISION_FILE, VisionOutput)
    connection.execute(query("delete_vision_analysis"), {"asset_id": asset_id})
    row = {**vision.model_dump(exclude={"shots"}), "asset_id": asset_id}
    row |= {name: storable(row[name]) for name in ("detector_model", "embedding_model")}
    connection.execute(query("add_vision_analysis"), row)
    _copy(connection, "copy_shots", ((asset_id, s.index, s.start_s, s.end_s) for s in vision.shots))
    frames = _read_frames(directory / FRAMES_FILE)
    while batch := list(islice(frames, FRAME_BATCH)):
        _copy_frames(connection, asset_id, vision, batch)


def _copy_frames(connection: Connection, asset_id: str, vision: VisionOutput, frames: Sequence[Frame]) -> None:
    copies: dict[str, Iterable[Row]] = {
        "copy_frames": (
            (
                asset_id,
                f.index,
                f.time_s,
                f.shot_index,
                f.brightness,
                f.contrast,
                f.sharpness,
                Jsonb([color.model_dump() for color in f.colors]),
            )
            for f in frames
        ),
        "copy_detections": (
            (asset_id, f.index, number, storable(d.label), d.confidence, *_corners(d.box))
            for f in frames
            for number, d in enumerate(f.detections)
        ),
        "copy_frame_tags": ((asset_id, f.index, storable(tag.label), tag.score) for f in frames for tag in f.tags),
        "copy_frame_texts": (
            (asset_id, f.index, number, storable(line.text), line.confidence, *_corners(line.box))
            for f in frames
            for number, line in enumerate(f.text)
        ),
        "copy_frame_embeddings": (
            (
                asset_id,
                f.index,
                storable(vision.embedding_model),
                vision.embedding_dimensions,
                vision.embedding_trained,
                _real_array(f.embedding),
            )
            for f in frames
            if f.embedding
        ),
    }
    for name, rows in copies.items():
        _copy(connection, name, rows)


def _write_enrichment(connection: Connection, asset_id: str, directory: Path) -> None:
    enrichment = _read(directory / ENRICHMENT_FILE, Enrichment)
    connection.execute(query("delete_enrichment"), {"asset_id": asset_id})
    row = {
        "asset_id": asset_id,
        "language": enrichment.language,
        "entity_engine": storable(enrichment.entity_engine),
        "sentiment_engine": storable(enrichment.sentiment_engine),
    }
    connection.execute(query("add_enrichment"), row)
    entities = (
        (asset_id, number, e.segment_index, e.start, e.end, storable(e.text), storable(e.label))
        for number, e in enumerate(enrichment.entities)
    )
    phrases = (
        (asset_id, number, storable(phrase.text), phrase.score, phrase.count)
        for number, phrase in enumerate(enrichment.key_phrases)
    )
    sentiments = ((asset_id, s.segment_index, s.label, s.score) for s in enrichment.sentiments)
    _copy(connection, "copy_entities", entities)
    _copy(connection, "copy_key_phrases", phrases)
    _copy(connection, "copy_sentiments", sentiments)


WRITERS: dict[Stage, Callable[[Connection, str, Path], None]] = {
    Stage.PROBE: _write_probe,
    Stage.EXTRACT: _write_extract,
    Stage.TRANSCRIBE: _write_transcript,
    Stage.ANALYZE: _write_vision,
    Stage.ENRICH: _write_enrichment,
}


def _copy(connection: Connection, name: str, rows: Iterable[Row]) -> None:
    driver_connection = connection.connection.driver_connection
    if driver_connection is None:
        raise ContentError("a connection must be open to copy rows, and this one was closed")
    with driver_connection.cursor() as cursor, cursor.copy(query_text(name)) as copy:
        for row in rows:
            copy.write_row(row)


def _read(path: Path, model: type[Model]) -> Model:
    try:
        return model.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise _broken(path, error) from error


def _read_frames(path: Path) -> Iterator[Frame]:
    try:
        with path.open("rb") as lines:
            for line in lines:
                yield Frame.model_validate_json(line)
    except (OSError, ValidationError) as error:
        raise _broken(path, error) from error


def _broken(path: Path, error: OSError | ValidationError) -> ContentError:
    found = error.errors()[0] if isinstance(error, ValidationError) else None
    why = f"{'.'.join(map(str, found['loc'])) or 'the file'}: {found['msg']}" if found else str(error)
    return ContentError(
        f"a result's files must be as the stage contract says: {path} is not: {why}; delete its folder, run again"
    )


def _corners(box: Box) -> tuple[float, float, float, float]:
    return box.x_px, box.y_px, box.width_px, box.height_px


def _real_array(vector: Sequence[float]) -> str:
    # Through single precision first: Postgres refuses a double that is too small for it. Nine digits hold a
    # single exactly, and one format call is five times as fast as joining strings.
    return "{" + ",".join(["%.9g"] * len(vector)) % tuple(array("f", vector)) + "}"
