"""`make demo`: a real video through the whole pipeline, and what came of it."""

import hashlib
import json
import sys
import time
from pathlib import Path

import jiwer

from console.airflow_api import AirflowApi
from console.demo_media import DemoFile, make_demo_media
from console.process import Job, print_report, run_job
from console.settings import Settings, load_settings
from console.terminal import ConsoleError, console, guard, say, step

HIGHEST_WORD_ERROR_RATE = 0.10
WORDS = jiwer.Compose(
    [
        jiwer.ToLowerCase(),
        jiwer.RemovePunctuation(),  # type: ignore[no-untyped-call]
        jiwer.RemoveMultipleSpaces(),
        jiwer.Strip(),
        jiwer.ReduceToListOfListOfWords(),
    ]
)


def word_error_rate(spoken: str, heard: str) -> float:
    """Wrong, missing and invented words, per word spoken; case and punctuation do not count."""
    return float(jiwer.wer(spoken, heard, reference_transform=WORDS, hypothesis_transform=WORDS))


def main() -> None:
    """Run the demo.

    Raises:
        ConsoleError: something could not be set up, the run failed, or the narration was misheard.
    """
    started_s = time.monotonic()
    settings = load_settings()
    with step("make the demo's media"):
        files = make_demo_media(settings.archive)
    api = AirflowApi(settings.airflow_url, settings.airflow_user, settings.airflow_password)
    say("")
    run = run_job(api, Job(tuple(f"archive/{file.path.relative_to(settings.archive)}" for file in files)))
    print_report(run)
    if run.state != "success":
        raise ConsoleError(f"the run ended {run.state}; see {api.run_url(run.dag_id, run.run_id)}")
    for file in files:
        if file.known_text:
            _check_hearing(settings, file, file.known_text)
    _say_where_to_look(settings, api.run_url(run.dag_id, run.run_id), time.monotonic() - started_s)


def _check_hearing(settings: Settings, file: DemoFile, spoken: str) -> None:
    heard = _transcript(settings, file.path)
    rate = word_error_rate(spoken, heard)
    say(f"Word error rate of {file.path.name} against its known text: {rate:.1%}")
    if rate > HIGHEST_WORD_ERROR_RATE:
        raise ConsoleError(f"the word error rate must be at most {HIGHEST_WORD_ERROR_RATE:.0%}: it is {rate:.1%}")


def _transcript(settings: Settings, file: Path) -> str:
    with file.open("rb") as media:
        asset_id = hashlib.file_digest(media, "sha256").hexdigest()
    found = (settings.results / "assets" / asset_id / "audio.transcribe").glob("*/transcript.json")
    newest = max(found, key=lambda path: path.stat().st_mtime)
    return " ".join(segment["text"] for segment in json.loads(newest.read_text())["segments"])


def _say_where_to_look(settings: Settings, run_url: str, elapsed_s: float) -> None:
    console.print("\n[bold]Where to look[/]")
    say(f"  The run          {run_url}")
    say(f"  Search, watch    {settings.airflow_url}/plugin/nightreel-archive")
    say(f"  Log in           {settings.airflow_user}, AIRFLOW_ADMIN_PASSWORD in .env")
    say(f"  Files            {settings.results}/assets")
    say("  Database         make psql")
    say("  Your own media   make process FILE=/path/to/tape.mp4, or set NIGHTREEL_ARCHIVE in .env")
    say(f"\nThe demo took {elapsed_s:.0f} s.")


if __name__ == "__main__":
    sys.exit(guard(main))
