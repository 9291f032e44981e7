"""`make process FILE=…`: take files through the pipeline now, show how it goes, print what came of it."""

import argparse
import filecmp
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from console.airflow_api import AirflowApi, RunState, TaskState
from console.settings import load_settings
from console.stack import report
from console.terminal import ConsoleError, console, guard, progress, say

POLL_EVERY_S = 1.0
MARKS = {
    "success": "[green]✓[/]",
    "failed": "[red]✗[/]",
    "upstream_failed": "[red]✗[/]",
    "skipped": "[yellow]-[/]",
    "up_for_retry": "[yellow]↻[/]",
    "running": "[cyan]▶[/]",
}
ENDED = {"success", "failed", "upstream_failed", "skipped"}


@dataclass(frozen=True)
class Job:
    """What to run: locations below the media mount, and the choices of the trigger form."""

    locations: tuple[str, ...]
    urgent: bool = False
    choices: dict[str, Any] = field(default_factory=dict)

    @property
    def dag_id(self) -> str:
        """The DAG that runs it."""
        return "process_media_urgent" if self.urgent else "process_media"


def stage_in(file: Path, archive: Path, inbox: Path, more_archives: Mapping[str, Path] | None = None) -> str:
    """The location of `file` below the media mount; a file from outside the archives is copied to the inbox.

    Raises:
        ConsoleError: there is no such file, or the inbox holds another one of that name.
    """
    # The folder is resolved, the name is not: a link in the archive is judged by the pipeline itself.
    absolute = file.parent.resolve() / file.name
    for root, folder in {"archive": archive, "inbox": inbox, **(more_archives or {})}.items():
        if absolute.is_relative_to(folder.resolve()):
            return f"{root}/{absolute.relative_to(folder.resolve())}"
    if not absolute.is_file():
        raise ConsoleError(f"FILE must be a media file or lie in the archive ({archive}): {str(file)!r} does not")
    copy = inbox / absolute.name
    if not copy.exists():
        _copy_whole(absolute, copy)
    elif not filecmp.cmp(absolute, copy, shallow=False):
        raise ConsoleError(f"the inbox holds another file of that name already: rename {str(file)!r}, or empty {inbox}")
    return f"inbox/{copy.name}"


def _copy_whole(file: Path, copy: Path) -> None:
    """Copy so that the name appears with the whole content, readable by the user that stages run as."""
    part = copy.with_name(f".{copy.name}.part")
    try:
        shutil.copy2(file, part)
        part.chmod(0o644)
        part.replace(copy)
    finally:
        part.unlink(missing_ok=True)


def run_job(api: AirflowApi, job: Job) -> RunState:
    """Trigger a run and follow it to its end, a line for each task that ends.

    Raises:
        ConsoleError: Airflow refuses, or does not answer for long.
    """
    conf = {"files": list(job.locations), **job.choices}
    run = api.trigger(
        job.dag_id, conf, f"{'urgent' if job.urgent else 'by_hand'}__{datetime.now(UTC):%Y%m%dT%H%M%S_%f}"
    )
    return watch(api, run)


def watch(api: AirflowApi, run: RunState) -> RunState:
    """Follow a run to its end, a line for each task that ends.

    Raises:
        ConsoleError: Airflow does not answer for long.
    """
    console.print(f"[bold]{run.dag_id}[/] {run.run_id}", highlight=False)
    console.print(f"  {api.run_url(run.dag_id, run.run_id)}", style="dim")
    shown: dict[str, str] = {}
    tasks: list[TaskState] = []
    with progress("waiting for the scheduler", lambda: _running(tasks)):
        while not run.ended:
            time.sleep(POLL_EVERY_S)
            tasks = api.tasks(run.dag_id, run.run_id)
            _show_changes(tasks, shown)
            run = api.run(run.dag_id, run.run_id)
    _show_changes(api.tasks(run.dag_id, run.run_id), shown)
    return run


def print_report(run: RunState) -> None:
    """Print the run's summary, made next to the database."""
    say("")
    report(["--dag-id", run.dag_id, "--run-id", run.run_id])


def _running(tasks: Sequence[TaskState]) -> str:
    words = {"running": "", "deferred": " waits"}
    return ", ".join(f"{task.task_id}{words[task.state]}" for task in tasks if task.state in words)


def _show_changes(tasks: Sequence[TaskState], shown: dict[str, str]) -> None:
    for task in sorted(tasks, key=lambda task: task.ended_at or datetime.max.replace(tzinfo=UTC)):
        state = task.state or ""
        known = f"{state} {task.try_number}"
        if state in ENDED | {"up_for_retry"} and shown.get(task.task_id) != known:
            shown[task.task_id] = known
            console.print(f"  {MARKS[state]} {task.task_id:<18} {_seconds(task)} {_remark(task)}")


def _seconds(task: TaskState) -> str:
    if not task.started_at or not task.ended_at:
        return " " * 9
    return f"{(task.ended_at - task.started_at).total_seconds():7.1f} s"


def _remark(task: TaskState) -> str:
    if task.state in ("success", None):
        return ""
    tries = f", try {task.try_number}" if task.try_number > 1 else ""
    return f"[dim]{str(task.state).replace('_', ' ')}{tries}[/]"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make process", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a media file, or a folder of the archive")
    parser.add_argument("--urgent", action="store_true", help="at once: all other work steps aside for it")
    parser.add_argument("--language", help="spoken language, ISO 639-1; detected when not given")
    parser.add_argument("--device", choices=["auto", "cpu", "gpu"], default="auto")
    parser.add_argument("--stages", nargs="+", help="for instance audio.transcribe; all when not given")
    return parser.parse_args(argv)


def _main(argv: Sequence[str] | None = None) -> None:
    arguments = _arguments(argv)
    settings = load_settings()
    folders = (settings.archive, settings.inbox, settings.more_archives)
    locations = tuple(stage_in(file, *folders) for file in arguments.files)
    choices: dict[str, Any] = {"language": arguments.language, "device": arguments.device}
    if arguments.stages:
        choices["stages"] = arguments.stages
    api = AirflowApi(settings.airflow_url, settings.airflow_user, settings.airflow_password)
    run = run_job(api, Job(locations, arguments.urgent, choices))
    print_report(run)
    if run.state != "success":
        raise ConsoleError(
            f"the run ended {run.state}; the tasks above say where, {api.run_url(run.dag_id, run.run_id)}"
        )


if __name__ == "__main__":
    sys.exit(guard(_main))
