"""The report of a run, as a terminal gets it."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy import Engine

from operators.database import URL_VARIABLE
from operators.publish import publish_asset
from operators.report import WIDTH, clock, main, render, shorten, size
from operators.run_summary import read_run
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
from stage_contract.phases import PhaseRecord
from stage_contract.request import TaskKey
from stage_contract.vocabulary import Phase, PhaseOutcome, Reason, Stage, Variant
from tests.operators.sample_results import add_asset, make_all_results, make_result

START = datetime(2026, 11, 21, 1, 0, tzinfo=UTC)
DAG_ID, RUN_ID = "process_media", "manual__2026-11-21"
HOSTILE_NAME = "evil\x1b]0;owned\x07\x1b[31m\n.mp4"


@pytest.fixture
def reported_run(media_database: Engine, results: Path, tmp_path: Path) -> Engine:
    """A film with everything, a silent one, a name that attacks the terminal; a try that failed."""
    film = add_asset(media_database, tmp_path)
    publish_asset(media_database, results, film, make_all_results(results, film))
    silent = add_asset(media_database, tmp_path, b"silent", "silent.mp4")
    refused = make_result(results, silent, Stage.EXTRACT, rejection=Reason.NO_AUDIO)
    publish_asset(media_database, results, silent, {Stage.EXTRACT: refused})
    begin_run(media_database, RunStart(DAG_ID, RUN_ID, {}, START, START))
    items = [
        RunItem("archive", "film.mp4", film, RunItemOutcome.DONE),
        RunItem("archive", "silent.mp4", silent, RunItemOutcome.DONE),
        RunItem("archive", HOSTILE_NAME, None, RunItemOutcome.REJECTED, Reason.UNREADABLE, "no\x1b[2J access"),
    ]
    set_item_outcomes(media_database, DAG_ID, RUN_ID, items)
    for number, outcome in ((1, AttemptOutcome.FAILED), (2, AttemptOutcome.DONE)):
        task = TaskKey(dag_id=DAG_ID, run_id=RUN_ID, task_id="audio_transcribe", try_number=number)
        begin_attempt(media_database, task, Stage.TRANSCRIBE, START)
        describe_attempt(media_database, task, AttemptDetails(variant=Variant.CPU))
        phases = [
            PhaseRecord(
                phase=which,
                # What a second try times at the very moment of the first is the first one's container, joined.
                started_at=START + timedelta(seconds=4 * place, milliseconds=number),
                duration_s=duration_s,
                span_s=duration_s,
                outcome=PhaseOutcome.DONE,
            )
            for place, (which, duration_s) in enumerate([(Phase.QUEUE, 1.0), (Phase.TRANSCRIPTION, 3.0)])
        ]
        record_phases(media_database, task, phases)
        end = AttemptEnd(START + timedelta(seconds=8), outcome, 70 if number == 1 else 0, "CUDA\x1b[0m broke")
        finish_attempt(media_database, task, end)
    finish_run(media_database, DAG_ID, RUN_ID, START + timedelta(seconds=8), RunOutcome.DONE)
    return media_database


def printed(database: Engine, width: int = WIDTH, assets: int = 5) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False)
    console.print(render(read_run(database, DAG_ID, RUN_ID, assets), Path("/srv/results")))
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def one_line(report: str) -> str:
    return " ".join(report.replace("│", " ").split())


def test_the_report_tells_what_was_found(reported_run: Engine) -> None:
    report = one_line(printed(reported_run))

    for told in (
        "“Ask not what your country can do for you. Ask what you can do for your country.”",
        "en (98% sure), 7.0 s of speech",
        "8.0 s of picture and sound",
        "person 4 frames, tie 4 frames",
        "BREAKING NEWS 4 frames",
        "Kennedy PER 1 time",
        "your country, ask",
        "positive (+0.40, vader)",
        "2 shots, 4 frames",
        "no_audio: rejected: no_audio",
        "contact_sheet.jpg",
        "transcript.srt",
        "/srv/results/assets/",
    ):
        assert told in report


def test_the_report_tells_where_the_time_went(reported_run: Engine) -> None:
    report = one_line(printed(reported_run))

    assert "transcription audio.transcribe cpu 2 6.00 3.00 75.0%" in report
    assert "The phases account for 50.0% of the run's 8.0 s." in report
    assert "Longest gap: 3.00 s, 1.0 s after it was asked for." in report


def test_the_report_tells_of_attempts_that_did_not_end_well(reported_run: Engine) -> None:
    assert "audio_transcribe 1 failed 70 CUDA\\x1b[0m broke" in one_line(printed(reported_run))


def test_nothing_in_the_report_steers_the_terminal(reported_run: Engine) -> None:
    report = printed(reported_run)

    assert [c for c in report if (ord(c) < 32 and c != "\n") or 0x7F <= ord(c) < 0xA0] == []
    assert r"evil\x1b]0;owned\x07\x1b[31m\n.mp4" in one_line(report)


@pytest.mark.parametrize("width", [60, 100])
def test_the_report_fits_its_width(reported_run: Engine, width: int) -> None:
    assert max(map(len, printed(reported_run, width).splitlines())) <= width


def test_only_so_many_assets_are_shown_in_full(reported_run: Engine) -> None:
    report = printed(reported_run, assets=1)

    assert "1 more not shown in full; --assets 2 shows all" in report
    assert "no_audio" not in report


def test_the_command_prints_the_report(
    reported_run: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(URL_VARIABLE, reported_run.url.render_as_string(hide_password=False))

    assert main(["--dag-id", DAG_ID, "--run-id", RUN_ID]) == 0
    assert "film.mp4" in capsys.readouterr().out


def test_a_run_that_is_not_there_is_told(
    media_database: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(URL_VARIABLE, media_database.url.render_as_string(hide_password=False))

    assert main(["--dag-id", DAG_ID, "--run-id", "no\x1bwhere"]) == 1
    assert r"the database has no process_media no\x1bwhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("duration_s", "told"), [(8.71, "8.7 s"), (59.99, "1 min 00 s"), (222, "3 min 42 s"), (3_900, "1 h 05 min")]
)
def test_durations_are_told_as_people_do(duration_s: float, told: str) -> None:
    assert clock(duration_s) == told


@pytest.mark.parametrize(("size_bytes", "told"), [(0, "0 bytes"), (1_536, "1.5 KiB"), (5 * 2**40, "5120.0 GiB")])
def test_sizes_are_told_in_fitting_units(size_bytes: int, told: str) -> None:
    assert size(size_bytes) == told


def test_long_text_is_cut_between_words() -> None:
    assert shorten("one two three", 9) == "one two…"
    assert shorten("x" * 20, 5) == "xxxx…"
    assert shorten("short", 5) == "short"
