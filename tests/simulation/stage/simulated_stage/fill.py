"""The least that each stage may write: valid outputs about a film of eight seconds in which one sentence is said."""

import base64
from collections.abc import Callable

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
    VTT_FILE,
    AudioStream,
    Color,
    Enrichment,
    ExtractOutput,
    Frame,
    ProbeOutput,
    Segment,
    Sentiment,
    Shot,
    Transcript,
    VideoStream,
    VisionOutput,
)
from stage_contract.vocabulary import Stage
from stage_contract.workspace import ItemWorkspace

DURATION_S = 8.0
SAMPLE_RATE_HZ = 16_000
WIDTH_PX, HEIGHT_PX = 320, 240
# One grey pixel.
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAP//////////////////////////////////////////////////////////////////////////"
    "////////////wgALCAABAAEBAREA/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQABPxA="
)


def fill_probe(workspace: ItemWorkspace) -> None:
    """A film with a picture and a sound track."""
    output = ProbeOutput(
        sha256=workspace.item.asset_id,
        size_bytes=workspace.item.size_bytes,
        container="mov,mp4,m4a,3gp,3g2,mj2",
        duration_s=DURATION_S,
        video=(VideoStream(index=0, codec="h264", width_px=WIDTH_PX, height_px=HEIGHT_PX),),
        audio=(AudioStream(index=1, codec="aac", sample_rate_hz=44_100, channels=2),),
    )
    workspace.write_json(PROBE_FILE, output)


def fill_extract(workspace: ItemWorkspace) -> None:
    """A sound track that nobody will hear."""
    workspace.write_text(AUDIO_FILE, "fLaC")
    output = ExtractOutput(
        audio_file=AUDIO_FILE,
        stream_index=1,
        sample_rate_hz=SAMPLE_RATE_HZ,
        duration_s=DURATION_S,
        integrated_lufs=-23.0,
        loudness_range_lu=None,
        true_peak_dbtp=-1.0,
    )
    workspace.write_json(EXTRACT_FILE, output)


def fill_transcript(workspace: ItemWorkspace) -> None:
    """One sentence over the whole film: the file's first line."""
    lines = workspace.source().read_text().splitlines()
    sentence = lines[0] if lines else "Nothing is said."
    segment = Segment(
        index=0,
        start_s=0.0,
        end_s=DURATION_S,
        text=f" {sentence}",
        mean_log_probability=-0.2,
        no_speech_probability=0.01,
    )
    output = Transcript(
        language="en",
        language_probability=0.98,
        duration_s=DURATION_S,
        speech_duration_s=DURATION_S,
        segments=(segment,),
    )
    workspace.write_json(TRANSCRIPT_FILE, output)
    workspace.write_text(SRT_FILE, f"1\n00:00:00,000 --> 00:00:08,000\n{sentence}\n")
    workspace.write_text(VTT_FILE, f"WEBVTT\n\n00:00.000 --> 00:08.000\n{sentence}\n")


def fill_vision(workspace: ItemWorkspace) -> None:
    """One shot, one grey frame."""
    output = VisionOutput(
        stream_index=0,
        width_px=WIDTH_PX,
        height_px=HEIGHT_PX,
        interval_s=DURATION_S,
        frame_count=1,
        shots=(Shot(index=0, start_s=0.0, end_s=DURATION_S),),
        embedding_model="simulated",
        embedding_dimensions=2,
        embedding_trained=False,
        detector_model="simulated",
    )
    workspace.write_json(VISION_FILE, output)
    frame = Frame(
        index=0,
        time_s=0.0,
        shot_index=0,
        brightness=128.0,
        contrast=0.0,
        sharpness=0.0,
        colors=(Color(hex="#808080", share=1.0),),
        embedding=(1.0, 0.0),
    )
    workspace.write_text(FRAMES_FILE, frame.model_dump_json() + "\n")
    workspace.new_file(CONTACT_SHEET_FILE).write_bytes(JPEG)
    workspace.keep(CONTACT_SHEET_FILE)


def fill_enrichment(workspace: ItemWorkspace) -> None:
    """Nothing found in what was said."""
    output = Enrichment(
        language="en",
        entities=(),
        entity_engine="simulated",
        key_phrases=(),
        sentiments=(Sentiment(segment_index=None, label="neutral", score=0.0),),
        sentiment_engine="simulated",
    )
    workspace.write_json(ENRICHMENT_FILE, output)


FILL: dict[Stage, Callable[[ItemWorkspace], None]] = {
    Stage.PROBE: fill_probe,
    Stage.EXTRACT: fill_extract,
    Stage.TRANSCRIBE: fill_transcript,
    Stage.ANALYZE: fill_vision,
    Stage.ENRICH: fill_enrichment,
}
