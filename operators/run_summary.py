"""What the database knows about one run, read for a report."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from operators.database import Database, transaction
from operators.queries import query
from operators.timings import UnknownKeyError
from stage_contract.result import result_dir
from stage_contract.vocabulary import Stage

OBJECTS = 12
SCREEN_TEXTS = 6
ENTITIES = 12
KEY_PHRASES = 10


@dataclass(frozen=True)
class Item:
    """A file of the run, and what became of it."""

    root: str
    path: str
    asset_id: str | None
    outcome: str
    reason: str | None
    message: str


@dataclass(frozen=True)
class AttemptLine:
    """An attempt that did not end well."""

    task_id: str
    try_number: int
    outcome: str
    exit_code: int | None
    message: str


@dataclass(frozen=True)
class PhaseLine:
    """Time spent in one phase of one stage on one variant, over all attempts. `share` is of all such time.

    `part` is the stage, or the task where there is no stage.
    """

    kind: str
    phase: str
    part: str
    variant: str | None
    count: int
    total_s: float
    median_s: float
    share: float


@dataclass(frozen=True)
class Coverage:
    """How much of the run's wall time the phases account for. `share` is 0..1, none for a run of no length."""

    wall_s: float
    covered_s: float
    share: float | None
    longest_gap_at_s: float | None
    longest_gap_s: float


@dataclass(frozen=True)
class Counted:
    """A thing found, and how often."""

    text: str
    label: str
    count: int


@dataclass(frozen=True)
class Speech:
    """What is said. The language is none where there is nothing to tell it by."""

    language: str | None
    language_probability: float | None
    speech_duration_s: float
    text: str


@dataclass(frozen=True)
class Tone:
    """The sentiment of the whole, and what measured it."""

    label: str
    score: float
    engine: str


@dataclass(frozen=True)
class Frames:
    """How much of the picture was looked at."""

    frame_count: int
    interval_s: float
    shots: int


@dataclass(frozen=True)
class ResultFile:
    """A file of a current result; `path` is below the results folder."""

    path: str
    size_bytes: int


@dataclass(frozen=True)
class RefusedStage:
    """A stage that gave no result, and why."""

    stage: str
    reason: str
    message: str


@dataclass(frozen=True)
class AssetSummary:
    """What is known about one asset. `speech`, `tone` and `frames` are none where that stage has no result."""

    asset_id: str
    duration_s: float | None
    has_audio: bool | None
    has_video: bool | None
    speech: Speech | None
    frames: Frames | None
    tone: Tone | None
    objects: tuple[Counted, ...]
    screen_texts: tuple[Counted, ...]
    entities: tuple[Counted, ...]
    key_phrases: tuple[str, ...]
    files: tuple[ResultFile, ...]
    refused: tuple[RefusedStage, ...]


@dataclass(frozen=True)
class RunSummary:
    """One run: its items, what was found in the first of them, and where its time went."""

    dag_id: str
    run_id: str
    outcome: str
    started_at: datetime
    finished_at: datetime | None
    items: tuple[Item, ...]
    assets: tuple[AssetSummary, ...]
    troubles: tuple[AttemptLine, ...]
    phases: tuple[PhaseLine, ...]
    coverage: Coverage


def read_run(database: Database, dag_id: str, run_id: str, asset_limit: int) -> RunSummary:
    """All about a run, with at most `asset_limit` of its assets in full.

    Raises:
        UnknownKeyError: there is no such run.
    """
    key = {"dag_id": dag_id, "run_id": run_id}
    with transaction(database) as connection:
        run = connection.execute(query("find_run"), key).first()
        if run is None:
            raise UnknownKeyError(f"a run must have begun to be reported: the database has no {dag_id} {run_id}")
        items = tuple(Item(*row) for row in connection.execute(query("list_run_items"), key))
        asset_ids = list(dict.fromkeys(item.asset_id for item in items if item.asset_id))
        return RunSummary(
            dag_id=run.dag_id,
            run_id=run.run_id,
            outcome=run.outcome,
            started_at=run.started_at,
            finished_at=run.finished_at,
            items=items,
            assets=tuple(read_asset(connection, asset_id) for asset_id in asset_ids[:asset_limit]),
            troubles=tuple(AttemptLine(*row) for row in connection.execute(query("list_run_troubles"), key)),
            phases=tuple(PhaseLine(*row) for row in connection.execute(query("run_phase_table"), key)),
            coverage=Coverage(*connection.execute(query("run_coverage"), key).one()),
        )


def read_asset(connection: Connection, asset_id: str) -> AssetSummary:
    """What the current results say about an asset that is in the catalog."""

    def rows(name: str, limit: int | None = None) -> Sequence[Sequence[Any]]:
        return connection.execute(query(name), {"asset_id": asset_id, "limit": limit}).all()

    media = connection.execute(query("report_media"), {"asset_id": asset_id}).one()
    return AssetSummary(
        asset_id=asset_id,
        duration_s=media.duration_s,
        has_audio=media.has_audio,
        has_video=media.has_video,
        speech=next((Speech(*row) for row in rows("report_transcript")), None),
        frames=next((Frames(*row) for row in rows("report_frames")), None),
        tone=next((Tone(*row) for row in rows("report_sentiment")), None),
        objects=tuple(Counted(*row) for row in rows("report_objects", OBJECTS)),
        screen_texts=tuple(Counted(*row) for row in rows("report_screen_texts", SCREEN_TEXTS)),
        entities=tuple(Counted(*row) for row in rows("report_entities", ENTITIES)),
        key_phrases=tuple(str(row[0]) for row in rows("report_key_phrases", KEY_PHRASES)),
        files=_read_files(connection, asset_id),
        refused=tuple(RefusedStage(*row) for row in rows("report_rejections")),
    )


def _read_files(connection: Connection, asset_id: str) -> tuple[ResultFile, ...]:
    order = list(Stage)
    found = sorted(
        connection.execute(query("report_files"), {"asset_id": asset_id}), key=lambda row: order.index(Stage(row.stage))
    )
    return tuple(
        ResultFile(str(result_dir(Path(), asset_id, Stage(row.stage), row.fingerprint) / row.name), row.size_bytes)
        for row in found
    )
