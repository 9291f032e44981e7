"""Containers that enrich transcripts. Assets are numbered from 0."""

from pathlib import Path

from pydantic import JsonValue

from stage_contract.outputs import ENRICHMENT_FILE, TRANSCRIPT_FILE, Enrichment, Transcript
from stage_contract.vocabulary import Phase, Stage
from tests.stage_container import Finished, Source, StageBench


def asset_id(number: int) -> str:
    """A made-up asset id."""
    return f"{number:064x}"


def enrich(
    bench: StageBench, *transcripts: Transcript | None, models: Path | None = None, **parameters: JsonValue
) -> Finished:
    """Write the transcripts and run the image on them. None is a transcript that is not there."""
    sources = [_source(bench, number, transcript) for number, transcript in enumerate(transcripts)]
    return bench.run(bench.request(Stage.ENRICH, sources, parameters), models)


def enrichment(done: Finished, number: int = 0) -> Enrichment:
    """The output for an asset."""
    return done.output(asset_id(number), ENRICHMENT_FILE, Enrichment)


def peak_rss_mib(done: Finished, phase: Phase) -> float:
    """The most resident memory that a phase took for any asset."""
    peaks = [record.peak_rss_mib for record in done.phases if record.phase is phase]
    return max(peak for peak in peaks if peak is not None)


def _source(bench: StageBench, number: int, transcript: Transcript | None) -> Source:
    made_up, file = bench.place(asset_id(number), Stage.TRANSCRIBE, TRANSCRIPT_FILE)
    if transcript:
        file.write_text(transcript.model_dump_json())
    return Source(asset_id(number), f"tape {number}.mp4", {Stage.TRANSCRIBE: made_up})
