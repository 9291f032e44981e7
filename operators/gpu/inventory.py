"""Prints the GPUs, how they are shared out, and what each stage takes: `python -m operators.gpu.inventory`.

With `--json` it prints the settings that follow from them, for `make up`.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence

from rich.console import Console
from sqlalchemy.exc import OperationalError

from operators.clean_text import printable_prose
from operators.database import Database, connect
from operators.errors import NightreelError
from operators.gpu.agent_client import ask_agent
from operators.gpu.configuration import DEFAULT_AGENT_URL, GpuConfiguration
from operators.gpu.inventory_report import WIDTH, render
from operators.gpu.sharing import (
    SIZE_PATIENCE_S,
    VRAM,
    find_sizes,
    fit_warnings,
    health_warning,
    settings_of,
    take_inventory,
)


def _print_settings(database: Database, models: Mapping[str, str], patience_s: float) -> None:
    url = os.environ.get("NIGHTREEL_GPU_AGENT_URL") or DEFAULT_AGENT_URL
    sizes, health = find_sizes(os.environ, lambda: ask_agent(url), patience_s)
    configuration = GpuConfiguration.from_environment({**os.environ, VRAM: sizes})
    inventory = take_inventory(database, configuration, health, models)
    found = {
        "settings": settings_of(inventory),
        "health": health_warning(inventory),
        "warnings": fit_warnings(inventory),
    }
    sys.stdout.write(f"{json.dumps(found)}\n")


def _print_report(database: Database, models: Mapping[str, str], colour: bool) -> None:
    configuration = GpuConfiguration.from_environment()
    inventory = take_inventory(database, configuration, ask_agent(configuration.agent_url), models)
    console = Console(force_terminal=colour or None, highlight=False, emoji=False, markup=False, width=WIDTH)
    console.print(render(inventory))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the inventory, or the settings that follow from it."""
    parser = argparse.ArgumentParser(prog="inventory", description="The GPUs and what stages take of them.")
    parser.add_argument("--json", action="store_true", help="the settings that follow, for `make up`")
    parser.add_argument("--no-wait", action="store_true", help="the agent is known to be down")
    parser.add_argument("--models", type=json.loads, default={}, help="models' label by image, as JSON")
    parser.add_argument("--color", action="store_true", help="colour even where the output is no terminal")
    given = parser.parse_args(argv)
    try:
        if given.json:
            _print_settings(connect(), given.models, 0.0 if given.no_wait else SIZE_PATIENCE_S)
        else:
            _print_report(connect(), given.models, given.color)
    except (NightreelError, OperationalError) as error:
        sys.stderr.write(f"{printable_prose(str(error))}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
