"""All that is known about one asset."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection

from operators.clean_text import printable
from operators.database import Database, transaction
from operators.queries import query
from operators.views.excerpts import one_line
from stage_contract.outputs import ProbeOutput
from stage_contract.result import OutputFile
from stage_contract.vocabulary import Stage

PLACES = 50
RUNS = 10
OBJECTS = 60
SPANS = 12
NAMES = 100
NAME_TIMES = 8
SCREEN_TEXTS = 100
PHRASES = 30
TAGS = 20
SHOTS = 400


@dataclass(frozen=True)
class Place:
    """A name under which the file lies, or lay until `vanished_at`, and what it was like when it was hashed."""

    root: str
    path: str
    size_bytes: int
    mtime_ns: int
    seen_at: datetime
    vanished_at: datetime | None

    @property
    def shown(self) -> str:
        """The place for a person."""
        return printable(f"{self.root}/{self.path}")


@dataclass(frozen=True)
class StageState:
    """What a stage has made of it. `status` is `done`, `rejected`, or empty where there is no result."""

    stage: Stage
    status: str = ""
    reason: str = ""
    message: str = ""
    made_by: str = ""
    finished_at: datetime | None = None
    fingerprint: str = ""
    files: tuple[OutputFile, ...] = ()


@dataclass(frozen=True)
class RunOfAsset:
    """A run that was asked for it, and what became of it there."""

    dag_id: str
    run_id: str
    outcome: str
    message: str
    started_at: datetime


@dataclass(frozen=True)
class Failure:
    """Why backfills leave it for now. `not_before` is none where it is parked."""

    failures: int
    not_before: datetime | None
    reason: str


@dataclass(frozen=True)
class Speech:
    """What is said, in short. The language is none where there is nothing to tell it by."""

    language: str | None
    probability: float | None
    speech_s: float


@dataclass(frozen=True)
class Tone:
    """The sentiment of the whole, -1 to 1, and what measured it."""

    label: str
    score: float
    engine: str


@dataclass(frozen=True)
class Analysis:
    """How much of the picture was looked at, and by what."""

    frame_count: int
    interval_s: float
    shots: int
    detector: str


@dataclass(frozen=True)
class SeenObject:
    """A kind of object and the first times that it is seen, `[start_s, end_s)`; `runs` is how many there are."""

    label: str
    frames: int
    confidence: float
    runs: int
    spans: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Mention:
    """A name, of which kind, how often, and the first times."""

    text: str
    label: str
    mentions: int
    times_s: tuple[float, ...]


@dataclass(frozen=True)
class ScreenText:
    """A line read on screen: in how many frames, and from when on."""

    text: str
    frames: int
    start_s: float


@dataclass(frozen=True)
class Tag:
    """A label that suits some frames; `score` is the best, 0 to 1."""

    label: str
    score: float
    frames: int


@dataclass(frozen=True)
class Asset:
    """An asset. What no stage has found is none or empty. Lists hold the first or most frequent only."""

    asset_id: str
    size_bytes: int
    first_seen_at: datetime
    duration_s: float | None
    probe: ProbeOutput | None
    places: tuple[Place, ...]
    stages: tuple[StageState, ...]
    runs: tuple[RunOfAsset, ...]
    failure: Failure | None
    speech: Speech | None
    tone: Tone | None
    loudness_lufs: float | None
    analysis: Analysis | None
    objects: tuple[SeenObject, ...]
    names: tuple[Mention, ...]
    phrases: tuple[str, ...]
    screen_texts: tuple[ScreenText, ...]
    tags: tuple[Tag, ...]
    shots: tuple[tuple[float, float], ...]

    @property
    def name(self) -> str:
        """What to call it."""
        return self.places[0].shown.rpartition("/")[2] if self.places else f"asset {self.asset_id[:12]}"

    def state(self, stage: Stage) -> StageState:
        """What a stage has made of it."""
        return next(state for state in self.stages if state.stage is stage)


@dataclass(frozen=True)
class Utterance:
    """A line of the transcript. `tone` is that of its sentiment, empty where there is none."""

    index: int
    start_s: float
    end_s: float
    text: str
    tone: str


def read_asset(database: Database, asset_id: str) -> Asset | None:
    """The asset; none where there is no such one."""
    with transaction(database) as connection:
        facts = connection.execute(query("asset_facts"), {"asset_id": asset_id}).one_or_none()
        return _asset(connection, facts) if facts else None


def read_file(database: Database, asset_id: str) -> tuple[ProbeOutput | None, tuple[Place, ...]]:
    """What probe found in an asset's file, and where the file is."""
    with transaction(database) as connection:
        facts = _row(connection, "asset_facts", asset_id)
        return _probe(facts.probe) if facts else None, read_places(connection, asset_id)


def read_stages(database: Database, asset_id: str) -> tuple[StageState, ...]:
    """What each stage has made of an asset."""
    with transaction(database) as connection:
        made = {Stage(row.stage): _state(row) for row in _rows(connection, "asset_results", asset_id)}
    return tuple(made.get(stage, StageState(stage)) for stage in Stage)


def read_places(database: Database, asset_id: str) -> tuple[Place, ...]:
    """Where an asset lies: first the places where it still is."""
    with transaction(database) as connection:
        rows = _rows(connection, "asset_places", asset_id, limit=PLACES)
    return tuple(
        Place(row.root, row.path, row.size_bytes, int(row.mtime_ns), row.seen_at, row.vanished_at) for row in rows
    )


def read_utterances(database: Database, asset_id: str, limit: int, offset: int) -> list[Utterance]:
    """Lines of its transcript, from the `offset`th on."""
    with transaction(database) as connection:
        rows = _rows(connection, "asset_utterances", asset_id, limit=limit, offset=offset)
    return [Utterance(row.segment_index, row.start_s, row.end_s, one_line(row.text), row.tone or "") for row in rows]


def utterances_before(database: Database, asset_id: str, time_s: float) -> int:
    """How many lines come before the one that is spoken at a time."""
    with transaction(database) as connection:
        asked = {"asset_id": asset_id, "time_s": time_s}
        return int(connection.execute(query("asset_utterance_at"), asked).scalar_one())


def _asset(connection: Connection, facts: Any) -> Asset:
    asset_id = facts.asset_id
    speech = _row(connection, "report_transcript", asset_id)
    tone = _row(connection, "report_sentiment", asset_id)
    analysis = _row(connection, "asset_analysis", asset_id)
    failure = _row(connection, "asset_failure", asset_id)
    sound = _row(connection, "asset_sound", asset_id)
    return Asset(
        asset_id=asset_id,
        size_bytes=facts.size_bytes,
        first_seen_at=facts.first_seen_at,
        duration_s=facts.duration_s,
        probe=_probe(facts.probe),
        places=read_places(connection, asset_id),
        stages=read_stages(connection, asset_id),
        runs=tuple(_run(row) for row in _rows(connection, "asset_runs", asset_id, limit=RUNS)),
        failure=Failure(failure.failures, failure.not_before, one_line(failure.reason)) if failure else None,
        speech=Speech(speech.language, speech.language_probability, speech.speech_duration_s) if speech else None,
        tone=Tone(tone.label, tone.score, one_line(tone.sentiment_engine)) if tone else None,
        loudness_lufs=sound.integrated_lufs if sound else None,
        analysis=_analysis(analysis) if analysis else None,
        objects=tuple(_objects(_rows(connection, "asset_objects", asset_id, limit=OBJECTS, spans=SPANS))),
        names=tuple(
            Mention(one_line(row.text), one_line(row.label), row.mentions, tuple(row.times_s))
            for row in _rows(connection, "asset_names", asset_id, limit=NAMES, times=NAME_TIMES)
        ),
        phrases=tuple(one_line(row.text) for row in _rows(connection, "report_key_phrases", asset_id, limit=PHRASES)),
        screen_texts=tuple(
            ScreenText(one_line(row.text), row.frames, row.start_s)
            for row in _rows(connection, "asset_screen_texts", asset_id, limit=SCREEN_TEXTS)
        ),
        tags=tuple(
            Tag(one_line(row.label), row.score, row.frames)
            for row in _rows(connection, "asset_tags", asset_id, limit=TAGS)
        ),
        shots=tuple((row.start_s, row.end_s) for row in _rows(connection, "asset_shots", asset_id, limit=SHOTS)),
    )


def _rows(connection: Connection, name: str, asset_id: str, **more: int) -> Sequence[Any]:
    return connection.execute(query(name), {"asset_id": asset_id, **more}).all()


def _row(connection: Connection, name: str, asset_id: str) -> Any:
    return connection.execute(query(name), {"asset_id": asset_id}).one_or_none()


def _probe(stored: Any) -> ProbeOutput | None:
    # One of an earlier version of the stage may not fit: then its facts are not shown until it was probed anew.
    try:
        return ProbeOutput.model_validate(stored) if stored else None
    except ValidationError:
        return None


def _state(row: Any) -> StageState:
    models = "+".join(sorted(str(model.get("name", "")) for model in row.models))
    made_by = ", ".join(
        part for part in (row.variant, row.compute_type, models, f"version {row.stage_version}") if part
    )
    return StageState(
        Stage(row.stage),
        row.status,
        row.reason or "",
        one_line(row.message),
        one_line(made_by),
        row.finished_at,
        row.fingerprint,
        tuple(OutputFile.model_validate(file) for file in row.files),
    )


def _run(row: Any) -> RunOfAsset:
    message = ": ".join(filter(None, (row.reason, one_line(row.message))))
    return RunOfAsset(row.dag_id, row.run_id, row.outcome, message, row.started_at)


def _analysis(row: Any) -> Analysis:
    return Analysis(row.frame_count, row.interval_s, row.shots, one_line(row.detector_model))


def _objects(rows: Iterable[Any]) -> Iterable[SeenObject]:
    for label, group in groupby(rows, key=lambda row: row.label):
        runs = list(group)
        spans = tuple((row.start_s, row.end_s) for row in runs)
        yield SeenObject(one_line(label), int(runs[0].frames), runs[0].confidence, runs[0].spans, spans)
