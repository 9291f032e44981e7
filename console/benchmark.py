"""`make benchmark FILE=…`: measure variants of the stages against each other on a file, print the comparison."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from console.airflow_api import AirflowApi
from console.process import stage_in, watch
from console.settings import load_settings
from console.terminal import ConsoleError, guard, say

DAG = "benchmark_devices"
REPORT_TASK = "compare"
FORM = "NAME=STAGE[+STAGE]:DEVICE[:COMPUTE_TYPE[:BATCH]]"


def read_variant(text: str) -> dict[str, Any]:
    """A variant as the trigger form has it, from `int8=audio.transcribe:cpu:int8`. Stages and types are checked there.

    Raises:
        ConsoleError: it is not of that form.
    """
    name, is_named, rest = text.partition("=")
    parts = rest.split(":")
    if not (is_named and name and 2 <= len(parts) <= 4 and all(parts)):
        raise ConsoleError(f"a variant must be {FORM}, such as int8=audio.transcribe:cpu:int8: {text!r} is not")
    stages, device, *more = parts
    variant: dict[str, Any] = {"name": name, "stages": stages.split("+"), "device": device}
    if more:
        variant["compute_type"] = more[0]
    if len(more) > 1:
        if not more[1].isdecimal():
            raise ConsoleError(f"a batch size must be a whole number: {text!r} has {more[1]!r}")
        variant["batch_size"] = int(more[1])
    return variant


def choices(arguments: argparse.Namespace, locations: Sequence[str]) -> Mapping[str, Any]:
    """What the trigger form is filled in with; what is not said is left to the form.

    Raises:
        ConsoleError: a variant is malformed.
    """
    given = {
        "files": list(locations),
        "variants": [read_variant(text) for text in arguments.variants] if arguments.variants else None,
        "repeats": arguments.repeats,
        "language": arguments.language,
        "name": arguments.name,
        "baseline": arguments.baseline,
    }
    return {name: value for name, value in given.items() if value is not None}


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make benchmark", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a media file, or a folder of the archive")
    parser.add_argument("--variants", nargs="+", metavar=FORM, help="the first of a stage is its reference")
    parser.add_argument("--repeats", type=int, help="rounds that count, after one to warm up")
    parser.add_argument("--language", help="spoken language, ISO 639-1; detected when not given")
    parser.add_argument("--name", help="what the benchmark is called")
    parser.add_argument("--baseline", help="name of an earlier benchmark: slower than that fails")
    return parser.parse_args(argv)


def _main(argv: Sequence[str] | None = None) -> None:
    arguments = _arguments(argv)
    settings = load_settings()
    folders = (settings.archive, settings.inbox, settings.more_archives)
    conf = choices(arguments, [stage_in(file, *folders) for file in arguments.files])
    api = AirflowApi(settings.airflow_url, settings.airflow_user, settings.airflow_password)
    run = watch(api, api.trigger(DAG, conf, f"by_hand__{datetime.now(UTC):%Y%m%dT%H%M%S_%f}"))
    report = api.returned_text(run.dag_id, run.run_id, REPORT_TASK)
    if report:
        say("")
        say(report)
    if run.state != "success":
        raise ConsoleError(
            f"the run ended {run.state}; the tasks above say where, {api.run_url(run.dag_id, run.run_id)}"
        )


if __name__ == "__main__":
    sys.exit(guard(_main))
