"""What a person sees while the console works: steps with their seconds, live progress, plain errors."""

import os
import re
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

REPOSITORY = Path(__file__).resolve().parent.parent
BUILD = REPOSITORY / "build"
LOGS = BUILD / "logs"

REPORT_EVERY_S = 15.0
REFRESH_EVERY_S = 0.5
LINES_SHOWN_ON_FAILURE = 30
TAIL_BYTES = 8192
# Colours, cursor moves, erasures: https://en.wikipedia.org/wiki/ANSI_escape_code#Control_Sequence_Introducer_commands
CONTROL_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")

console = Console(highlight=False, soft_wrap=True)
errors = Console(highlight=False, soft_wrap=True, stderr=True)


class ConsoleError(Exception):
    """What stops the console. The message is for a person: the rule, the values found, the remedy."""


def say(text: str) -> None:
    """Print one line as it is, without markup."""
    console.print(text, markup=False)


def warn(text: str) -> None:
    """Print what a person should know and the work goes on without."""
    console.print(Text.assemble(("warning: ", "bold yellow"), text))


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print a line when a step starts and one, with its seconds, when it ends."""
    started_s = time.monotonic()
    console.print(Text.assemble(("→ ", "cyan"), title))
    try:
        yield
    except BaseException:
        console.print(Text.assemble(("✗ ", "red"), title, (f"  {_seconds(started_s)}", "dim")))
        raise
    console.print(Text.assemble(("✓ ", "green"), title, (f"  {_seconds(started_s)}", "dim")))


def run(
    argv: Sequence[str | Path],
    *,
    log: Path,
    title: str,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> None:
    """Run a command with stdout and stderr in `log` (replaced), showing its last line as it goes.

    On a terminal the line is live; elsewhere a line is printed every 15 s. `environment` is the whole
    environment of the command, this process's own by default.

    Raises:
        ConsoleError: the command cannot be started or ended with a code other than 0.
    """
    command = [str(part) for part in argv]
    log.parent.mkdir(parents=True, exist_ok=True)
    with step(title):
        with log.open("wb") as output:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=None if environment is None else dict(environment),
                    cwd=directory or REPOSITORY,
                )
            except OSError as error:
                raise ConsoleError(f"{title}: {command[0]} cannot be started ({error})") from error
            try:
                with progress(title, lambda: last_line(log)):
                    code = process.wait()
            except BaseException:
                process.terminate()
                process.wait()
                raise
        if code != 0:
            shown = "\n".join(f"  {line}" for line in tail(log, LINES_SHOWN_ON_FAILURE))
            raise ConsoleError(f"{title} failed: {command[0]} ended with {code}; all of it is in {log}\n{shown}")


@contextmanager
def progress(title: str, status: Callable[[], str]) -> Iterator[None]:
    """Show `status()` and the elapsed time while the block runs: live on a terminal, else every 15 s."""
    started_s = time.monotonic()
    finished = threading.Event()

    def line() -> Text:
        text = Text.assemble(("  … ", "cyan"), (f"{_seconds(started_s)}  ", "dim"), status() or title)
        text.truncate(console.width - 1, overflow="ellipsis")
        return text

    def report_live() -> None:
        with Live(line(), console=console, transient=True, auto_refresh=False) as live:
            while not finished.wait(REFRESH_EVERY_S):
                live.update(line(), refresh=True)

    def report_plain() -> None:
        while not finished.wait(REPORT_EVERY_S):
            console.print(line())

    thread = threading.Thread(target=report_live if console.is_terminal else report_plain, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


def tail(path: Path, count: int) -> list[str]:
    """The last `count` lines of a log, without its colour codes; a line redrawn in place counts once."""
    with path.open("rb") as file:
        lines = deque(file, maxlen=count)
    return [_readable(line) for line in lines]


def last_line(path: Path) -> str:
    """The last line of a growing log that holds anything; empty when there is none."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        lines = [_readable(line) for line in file.read().splitlines()]
    return next((line for line in reversed(lines) if line.strip()), "")


def guard(main: Callable[[], None]) -> int:
    """Run `main` and return the exit code: what stops it for a reason of the machine is told without a traceback."""
    # Folders made here are read by the users of containers.
    os.umask(0o022)
    try:
        main()
    except ConsoleError as error:
        errors.print(Text.assemble(("error: ", "bold red"), str(error)))
        return 1
    except OSError as error:
        # A full disk, a folder that may not be written: the system's words name it.
        errors.print(Text.assemble(("error: ", "bold red"), str(error)))
        return 1
    except KeyboardInterrupt:
        errors.print("stopped")
        return 130
    return 0


def plain(line: str) -> str:
    """A line as a person would have seen it: the last state of what was redrawn, no control sequences."""
    return CONTROL_SEQUENCE.sub("", line.rstrip().rsplit("\r", 1)[-1]).rstrip()


def _readable(line: bytes) -> str:
    return plain(line.decode(errors="replace"))


def _seconds(started_s: float) -> str:
    return f"{time.monotonic() - started_s:.1f} s"
