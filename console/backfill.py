"""`make backfill FOLDER=…`: process what is in a folder of the archive and has no result yet, and show how it goes."""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from console.airflow_api import AirflowApi, RunState
from console.settings import Settings, load_settings
from console.terminal import ConsoleError, console, guard, progress, say

DAG = "archive_backfill"
REPORT_TASK = "report_backfill"
POLL_EVERY_S = 2.0
MARK = "backfill: "
"""Begins the lines about progress in the run's note."""


def location(given: str, roots: Mapping[str, Path]) -> str:
    """A folder or file as the archive has it, such as `archive/2024`. A path on this machine inside a root is one too.

    Raises:
        ConsoleError: it is neither.
    """
    if given.partition("/")[0] in roots:
        return given.rstrip("/")
    path = Path(given)
    absolute = path.parent.resolve() / path.name
    for root, folder in roots.items():
        if absolute.is_relative_to(folder.resolve()):
            return str(Path(root) / absolute.relative_to(folder.resolve()))
    known = ", ".join(f"{root}/ ({folder})" for root, folder in roots.items())
    raise ConsoleError(f"a folder to process must lie below {known}: {given!r} does not")


def read_list(file: Path) -> list[str]:
    """The locations that a file lists, one a line; empty lines and those that begin with # do not count.

    Raises:
        ConsoleError: it cannot be read, or lists nothing.
    """
    try:
        lines = [line.strip() for line in file.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConsoleError(f"LIST must be a readable text file: {error}") from error
    named = [line for line in lines if line and not line.startswith("#")]
    if not named:
        raise ConsoleError(f"LIST must name at least one location, one a line: {file} names none")
    return named


def follow(api: AirflowApi, run: RunState) -> RunState:
    """Show the run's note as it changes, until the run has ended."""
    shown = {"line": ""}
    with progress("waiting for the scheduler", lambda: shown["line"]):
        while not run.ended:
            time.sleep(POLL_EVERY_S)
            shown["line"] = "; ".join(_marked(api.run_note(run.dag_id, run.run_id)))
            run = api.run(run.dag_id, run.run_id)
    return run


def require_report(api: AirflowApi, run: RunState) -> str:
    """What the run says came of it.

    Raises:
        ConsoleError: it says nothing: it could not begin.
    """
    report = api.returned_text(run.dag_id, run.run_id, REPORT_TASK)
    if report is None:
        why = "; ".join(_marked(api.run_note(run.dag_id, run.run_id))) or "its tasks say why"
        raise ConsoleError(f"nothing was done: {why}\n{api.run_url(run.dag_id, run.run_id)}")
    return report


def _marked(note: str) -> list[str]:
    return [line.removeprefix(MARK) for line in note.splitlines() if line.startswith(MARK)]


def media_roots(settings: Settings) -> dict[str, Path]:
    """The folders of media on this machine, by the names that the archive knows them by."""
    return {"archive": settings.archive, "inbox": settings.inbox, **settings.more_archives}


def choices(arguments: argparse.Namespace, roots: Mapping[str, Path]) -> dict[str, Any]:
    """What the trigger form is filled in with; what is not said is left to the form.

    Raises:
        ConsoleError: a folder lies elsewhere, or nothing is named.
    """
    named = [*arguments.folders, *(read_list(arguments.list) if arguments.list else [])]
    if not named:
        raise ConsoleError("a backfill by hand must name what it is about: FOLDER=archive/2024 or LIST=files.txt")
    given = {
        "folders": [location(name, roots) for name in named],
        "order": arguments.order,
        "first_folder": location(arguments.first, roots) if arguments.first else None,
        "until": arguments.until,
        "device": arguments.device,
        "stages": arguments.stages,
        "language": arguments.language,
        "renew": arguments.renew or None,
        "retry_parked": arguments.retry_parked or None,
        "dry_run": arguments.dry_run or None,
        "in_window": arguments.in_window or None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make backfill", description=__doc__)
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="such as archive/2024, or a path on this machine")
    parser.add_argument("--list", type=Path, help="a file with a location on each line")
    parser.add_argument("--dry-run", action="store_true", help="print the plan, launch nothing")
    parser.add_argument("--order", choices=["newest", "oldest", "shortest"])
    parser.add_argument("--first", help="a folder that goes before everything else")
    parser.add_argument("--until", metavar="HH:MM", help="launch nothing after it")
    parser.add_argument("--in-window", action="store_true", help="keep to the night's hours")
    parser.add_argument("--device", choices=["auto", "cpu", "gpu"])
    parser.add_argument("--stages", nargs="+", help="for instance audio.transcribe; all when not given")
    parser.add_argument("--language", help="spoken in all of it, ISO 639-1; detected when not given")
    parser.add_argument("--renew", action="store_true", help="also what has results of other models")
    parser.add_argument("--retry-parked", action="store_true", help="also what failed before")
    return parser.parse_args(argv)


def _main(argv: Sequence[str] | None = None) -> None:
    arguments, settings = _arguments(argv), load_settings()
    conf = choices(arguments, media_roots(settings))
    api = AirflowApi(settings.airflow_url, settings.airflow_user, settings.airflow_password)
    run = api.trigger(DAG, conf, f"by_hand__{datetime.now(UTC):%Y%m%dT%H%M%S_%f}")
    console.print(f"[bold]{run.dag_id}[/] {run.run_id}", highlight=False)
    console.print(f"  {api.run_url(run.dag_id, run.run_id)}", style="dim")
    say("  it goes on without this terminal; `make progress` shows it again")
    run = follow(api, run)
    say("")
    say(require_report(api, run))
    if run.state != "success":
        raise ConsoleError(f"the run ended {run.state}: {api.run_url(run.dag_id, run.run_id)}")


if __name__ == "__main__":
    sys.exit(guard(_main))
