"""Peak memory of each stage on a file of four hours, beside one of ten minutes that holds the same."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import JsonValue

from stage_contract.outputs import TRANSCRIPT_FILE, Segment, Transcript
from stage_contract.vocabulary import Stage
from tests.bench.bench_media import make_lengths
from tests.bench.rounds import Finding, Table, heading, number, row
from tests.bench.stage_shard import OURS, StageShard, peak_rss_mib
from tests.stage_container import StageBench

LENGTHS_S = {"memory_10_min.mp4": 600, "memory_4_h.mp4": 4 * 3600}
MOST_GROWTH = 1.2
WORDS_A_SEGMENT, WORDS_A_SECOND = 12, 2.7
"""How the narration is spoken."""

PARAMETERS: Mapping[Stage, Mapping[str, JsonValue]] = {Stage.ANALYZE: {"ocr": False}}
"""Reading text takes the same memory for every picture, and would take the most time here."""


def compare_lengths(folder: Path, text: str) -> Table:
    """The peaks of every stage. None may take over a fifth more for the long file.

    nlp.enrich reads `text` over and over, as if it were spoken from beginning to end.

    Raises:
        BenchFailed: a stage failed.
    """
    archive = make_lengths(LENGTHS_S)
    short, long = (_peaks(folder / name, archive, name, text, length_s) for name, length_s in LENGTHS_S.items())
    growth = {stage: long[stage] / short[stage] for stage in Stage}
    lines = heading("stage", "10 minutes, MiB", "4 hours, MiB", "ratio")
    for stage in Stage:
        lines.append(row(f"`{stage}`", number(short[stage]), number(long[stage]), f"**{growth[stage]:.2f}**"))
    most = max(growth.values())
    found = Finding("peak memory, 10 minutes and 4 hours, the stage that grows most", "", "", f"{most:.2f}")
    return Table(lines, [found], most <= MOST_GROWTH)


def _peaks(folder: Path, archive: Path, name: str, text: str, length_s: float) -> dict[Stage, float]:
    shard = StageShard(folder, archive, [name])
    peaks: dict[Stage, float] = {}
    for stage in (Stage.PROBE, Stage.EXTRACT, Stage.TRANSCRIBE, Stage.ANALYZE):
        peaks[stage] = peak_rss_mib(shard.run(stage, OURS, **PARAMETERS.get(stage, {})))
    bench = StageBench(folder, archive)
    source = bench.source(name)
    made_up, file = bench.place(source.asset_id, Stage.TRANSCRIBE, TRANSCRIPT_FILE)
    file.write_text(spoken_throughout(text, length_s).model_dump_json(), encoding="utf-8")
    request = bench.request(Stage.ENRICH, [replace(source, inputs={Stage.TRANSCRIBE: made_up})], {})
    return {**peaks, Stage.ENRICH: peak_rss_mib(bench.run(request))}


def spoken_throughout(text: str, length_s: float) -> Transcript:
    """A transcript in which a text is said again and again, until the end."""
    words = text.split()
    segment_s = WORDS_A_SEGMENT / WORDS_A_SECOND
    segments = tuple(
        Segment(
            index=index,
            start_s=index * segment_s,
            end_s=(index + 1) * segment_s,
            text=" ".join(words[(index * WORDS_A_SEGMENT + step) % len(words)] for step in range(WORDS_A_SEGMENT)),
            mean_log_probability=-0.2,
            no_speech_probability=0.0,
        )
        for index in range(int(length_s / segment_s))
    )
    return Transcript(
        language="en", language_probability=1.0, duration_s=length_s, speech_duration_s=length_s, segments=segments
    )
