"""`make simulate-gpu`: a deployment on simulated GPUs, for a person to play with. DO="…" says what happens to them."""

import shlex
import sys

from rich.table import Table

from console.engine import ensure_engine
from console.terminal import ConsoleError, console, guard
from tests.simulation.commands import COMMANDS, REASON, Command
from tests.simulation.playground import Playground


def main() -> None:
    """Do what the one argument says; without words, bring everything up.

    Raises:
        ConsoleError: it is not understood, or cannot be done.
    """
    words = shlex.split(sys.argv[1] if len(sys.argv) > 1 else "") or ["up"]
    if words == ["help"]:
        _print_commands()
        return
    playground = Playground()
    ensure_engine()
    playground.enter()
    command = _find(words)
    arguments = _arguments(command, words[len(command.words) :])
    if len(arguments) != len(command.arguments):
        raise ConsoleError(f'DO="{command.usage}" takes what is written in capitals: got {" ".join(words)!r}')
    if command.needs_deployment and not playground.is_up:
        raise ConsoleError("the simulated deployment must be up: it is not; run `make simulate-gpu` first")
    try:
        command.act(playground, *arguments)
    except (LookupError, ValueError) as error:
        raise ConsoleError(str(error)) from error
    if command.words == ("up",):
        _print_commands()


def _find(words: list[str]) -> Command:
    found = next((command for command in COMMANDS if tuple(words[: len(command.words)]) == command.words), None)
    if found is None:
        known = ", ".join(" ".join(command.words) for command in COMMANDS)
        raise ConsoleError(f"DO must begin with one of {known}: it is {' '.join(words)!r}")
    return found


def _arguments(command: Command, words: list[str]) -> list[str]:
    """A reason may have any number of words."""
    if command.arguments[-1:] != (REASON,):
        return words
    before = len(command.arguments) - 1
    return [*words[:before], *([" ".join(words[before:])] if words[before:] else [])]


def _print_commands() -> None:
    table = Table(box=None, show_header=False, padding=(0, 2))
    table.add_column(no_wrap=True, style="cyan")
    for command in COMMANDS:
        table.add_row(command.usage, command.effect)
    console.print('\n[bold]What you can do[/], as in [cyan]make simulate-gpu DO="run long.mp4"[/]')
    console.print(table)


if __name__ == "__main__":
    sys.exit(guard(main))
