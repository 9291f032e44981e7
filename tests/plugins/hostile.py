"""Markup and scripts wherever text comes from outside: names of files, what is said and seen, errors, reasons."""

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine

from operators.backfill.pause import PauseAction, switch_backfills
from operators.backfill.scope import BackfillScope
from operators.backfill.store import NewBackfill, open_backfill
from operators.database import transaction
from operators.gpu.breaker_store import open_by_hand
from operators.gpu.routing_store import set_routing
from operators.publish import publish_asset
from operators.queries import query
from operators.routing import DevicePolicy
from operators.stage_plan import AttemptOutcome
from operators.timings import (
    AttemptDetails,
    AttemptEnd,
    RunItem,
    RunItemOutcome,
    RunOutcome,
    RunStart,
    begin_attempt,
    begin_run,
    describe_attempt,
    finish_attempt,
    finish_run,
    record_phases,
    set_item_outcomes,
)
from stage_contract.models import ModelRef
from stage_contract.outputs import (
    ENRICHMENT_FILE,
    PROBE_FILE,
    AudioStream,
    Enrichment,
    Entity,
    KeyPhrase,
    ProbeOutput,
    VideoStream,
)
from stage_contract.phases import PhaseRecord
from stage_contract.request import TaskKey
from stage_contract.vocabulary import Phase, PhaseOutcome, Reason, Stage, Variant
from stage_contract.workspace import ItemWorkspace
from tests.operators.benchmark.made import FLOAT32, INT8, made_benchmark, made_plan
from tests.operators.sample_results import add_asset, fill_extract, make_result, showing, speaking

RARE_WORD = "zyzzyva"
FILE_NAME = f"<img class=planted src=x onerror=top.ran=1> & 'it''s' {RARE_WORD}.mp4"
TEXT = f'<script>top.ran=1</script><b class="planted">{RARE_WORD}</b> " & so on'
FORBIDDEN = ("<script>top", "<img class=planted", '<b class="planted"')
"""As these texts would stand in a page's source if it did not escape them."""

DEVICE = "GPU-planted"
RUN_ID = "manual__planted"
DAG_ID = "process_media"


@dataclass(frozen=True)
class Planted:
    """What was put into the database: an asset with results, its run, a backfill, and a benchmark."""

    asset_id: str
    run_id: str
    backfill_id: int
    benchmark_id: int


def plant(database: Engine, results: Path, folder: Path) -> Planted:
    """Publish results, and record a run, a failure, a pause and other changes. The file goes into `folder`."""
    asset_id = add_asset(database, folder, b"planted", FILE_NAME)
    rejected_id = add_asset(database, folder, b"planted and rejected", f"rejected {FILE_NAME}")
    publish_asset(database, results, asset_id, _results(results, asset_id))
    publish_asset(database, results, rejected_id, {Stage.PROBE: _rejection(results, rejected_id)})
    _record_run(database, asset_id, rejected_id)
    return Planted(asset_id, RUN_ID, _record_night(database, rejected_id), _record_benchmark(database))


def _results(results: Path, asset_id: str) -> dict[Stage, str]:
    probe = make_result(results, asset_id, Stage.PROBE, _fill_probe)
    extract = make_result(results, asset_id, Stage.EXTRACT, fill_extract, inputs={Stage.PROBE: probe})
    heard = {Stage.PROBE: probe, Stage.EXTRACT: extract}
    transcript = make_result(results, asset_id, Stage.TRANSCRIBE, speaking(TEXT, f"a quiet {RARE_WORD}"), inputs=heard)
    vision = make_result(results, asset_id, Stage.ANALYZE, showing(4, label=TEXT, text=TEXT))
    enriched = make_result(results, asset_id, Stage.ENRICH, _fill_enrichment, inputs={Stage.TRANSCRIBE: transcript})
    return {
        Stage.PROBE: probe,
        Stage.EXTRACT: extract,
        Stage.TRANSCRIBE: transcript,
        Stage.ANALYZE: vision,
        Stage.ENRICH: enriched,
    }


def _rejection(results: Path, asset_id: str) -> str:
    return make_result(results, asset_id, Stage.PROBE, rejection=Reason.CORRUPT)


def _fill_probe(workspace: ItemWorkspace) -> None:
    probe = ProbeOutput(
        sha256=workspace.item.asset_id,
        size_bytes=7,
        container="mov,mp4",
        duration_s=8.0,
        video=(VideoStream(index=0, codec=TEXT, width_px=320, height_px=240),),
        audio=(AudioStream(index=1, codec=TEXT, sample_rate_hz=44_100, channels=2),),
        tags={TEXT: TEXT},
    )
    workspace.write_json(PROBE_FILE, probe)


def _fill_enrichment(workspace: ItemWorkspace) -> None:
    enrichment = Enrichment(
        language="en",
        entities=(Entity(segment_index=0, start=0, end=len(TEXT), text=TEXT, label=TEXT),),
        entity_engine=TEXT,
        key_phrases=(KeyPhrase(text=TEXT, score=2.0, count=2),),
        sentiments=(),
        sentiment_engine="vader",
    )
    workspace.write_json(ENRICHMENT_FILE, enrichment)


def _record_run(database: Engine, asset_id: str, rejected_id: str) -> None:
    began_at = datetime.now(UTC) - timedelta(minutes=5)
    ended_at = began_at + timedelta(minutes=1)
    task = TaskKey(dag_id=DAG_ID, run_id=RUN_ID, task_id="audio_transcribe_cpu", try_number=1)
    model = ModelRef(role="whisper", name=TEXT, revision=TEXT, sha256="", licence="MIT")
    begin_run(database, RunStart(DAG_ID, RUN_ID, {"files": [TEXT]}, began_at, began_at))
    begin_attempt(database, task, Stage.TRANSCRIBE, began_at)
    details = AttemptDetails(Variant.CUDA, DEVICE, TEXT, TEXT, (model,), compute_type=TEXT, container_id=TEXT)
    describe_attempt(database, task, details)
    record = PhaseRecord(
        phase=Phase.TRANSCRIPTION,
        asset_id=asset_id,
        started_at=began_at,
        duration_s=50,
        span_s=50,
        outcome=PhaseOutcome.FAILED,
        counters={TEXT: 1},
    )
    record_phases(database, task, [record])
    finish_attempt(database, task, AttemptEnd(ended_at, AttemptOutcome.FAILED, 70, TEXT))
    items = [
        RunItem("archive", FILE_NAME, asset_id, RunItemOutcome.FAILED, message=TEXT),
        RunItem("archive", f"rejected {FILE_NAME}", rejected_id, RunItemOutcome.REJECTED, Reason.CORRUPT, TEXT),
    ]
    set_item_outcomes(database, DAG_ID, RUN_ID, items)
    finish_run(database, DAG_ID, RUN_ID, ended_at, RunOutcome.FAILED)


def _record_night(database: Engine, asset_id: str) -> int:
    now = datetime.now(UTC)
    scope = BackfillScope(folders=(f"archive/{TEXT}",))
    backfill_id = open_backfill(database, NewBackfill("archive_backfill", RUN_ID, scope, {}, now, None))
    row = {"asset_id": asset_id, "failures": 4, "failed_at": now, "not_before": None, "reason": TEXT}
    with transaction(database) as connection:
        connection.execute(query("save_failure"), row)
    switch_backfills(database, PauseAction.PAUSE, TEXT, TEXT)
    open_by_hand(database, DEVICE, TEXT, TEXT)
    set_routing(database, Stage.TRANSCRIBE, DevicePolicy.CPU, TEXT, TEXT)
    return backfill_id


def _record_benchmark(database: Engine) -> int:
    plan = made_plan(FLOAT32, INT8, name=TEXT)
    with tempfile.TemporaryDirectory() as work:
        return made_benchmark(database, Path(work), plan, fails={INT8.name: TEXT}).header.benchmark_id
