"""What orchestration costs: a backfill through Airflow against the same stages in warm processes.

    PYTHONPATH=images/base python -m tests.bench.orchestration --assets 200

Half of the clips go through warm processes, then all of them through a backfill in a deployment of its own, then the
other half through warm processes: what else the machine does meanwhile falls on both sides. docs/benchmarks.md says
how to read the table.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from console.engine import ensure_engine
from console.images import build_images
from console.settings import complete, load_settings
from console.terminal import ConsoleError
from operators.errors import NightreelError
from operators.settings import ContainerLimits
from operators.shard import ShardItem
from stage_contract.vocabulary import Stage
from tests.bench.clips import Clips, make_clips
from tests.bench.cost_table import agreement_line, cost_lines, shard_lines
from tests.bench.document import describe_machine, write_between_marks
from tests.bench.measured_backfill import MeasuredBackfill, run_backfill
from tests.bench.same_results import agreement, read_results
from tests.bench.warm_stages import deal, result_folders, run_warm, total
from tests.deployment import deployed, own_settings, variables

MARKS = "<!-- begin: orchestration -->", "<!-- end: orchestration -->"
CLIPS = "clips"
HALVES = 2
AIM = 0.90


@dataclass(frozen=True)
class Bench:
    """A run of the benchmark: its folder, the deployment's settings, and what they give the stages."""

    folder: Path
    environment: dict[str, str]
    limits: ContainerLimits
    slots: int

    @property
    def archive(self) -> Path:
        """The deployment's, which the warm processes read too."""
        return self.folder / "archive"

    def warm_folder(self, half: int) -> Path:
        """Where half of the clips go through warm processes."""
        return self.folder / f"warm-{half}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and print it as Markdown. Returns the exit code: 1 when the sides do not agree, too."""
    arguments = _parse(argv)
    try:
        with work_folder(arguments.work) as folder:
            bench = open_bench(folder, arguments.shard_minutes)
            _say(f"cut {arguments.assets} clips")
            clips = make_clips(bench.archive, CLIPS, arguments.assets, folder / "demo")
            if arguments.warm_only:
                print(_warm_table(_run_half(bench, 0, clips.items)))
                return 0
            ensure_engine()
            build_images()
            table, is_same = measure(bench, clips)
    except (NightreelError, ConsoleError) as error:
        print(error, file=sys.stderr)
        return 1
    print(table)
    if arguments.write:
        write_between_marks(arguments.write, table, MARKS)
    return 0 if is_same else 1


def open_bench(folder: Path, shard_minutes: int | None = None) -> Bench:
    """Settings of a deployment in `folder`, without GPUs and nights; the rest is this machine's.

    Raises:
        ConsoleError: a setting breaks its rule.
    """
    environment = {
        **own_settings(folder, f"nightreel-bench-{os.getpid()}"),
        "NIGHTREEL_GPU_DEVICES": "",
        "NIGHTREEL_NIGHT_DAYS": "",
        **({"NIGHTREEL_SHARD_MINUTES": str(shard_minutes)} if shard_minutes else {}),
    }
    with variables(environment):
        complete()
        values = load_settings().values
    limits = ContainerLimits(
        cpus=float(values["NIGHTREEL_STAGE_CPUS"]),
        memory_mib=int(values["NIGHTREEL_STAGE_MEMORY_MIB"]),
        pids=int(values["NIGHTREEL_STAGE_PIDS"]),
    )
    bench = Bench(folder, environment, limits, int(values["NIGHTREEL_CPU_SLOTS"]))
    bench.archive.mkdir(exist_ok=True)
    # The user that stages run as comes in.
    folder.chmod(0o755)
    return bench


def measure(bench: Bench, clips: Clips) -> tuple[str, bool]:
    """Both sides, interleaved. Returns the tables and whether the outputs agree.

    Raises:
        NightreelError: a side did not do all clips.
        ConsoleError: the deployment did not come up.
    """
    first, second = deal(clips.items, HALVES)
    warm = [_run_half(bench, 0, first)]
    _say(f"backfill of {len(clips.items)} clips")
    with deployed(bench.environment) as deployment:
        backfill = run_backfill(deployment, f"archive/{CLIPS}", len(clips.items), bench.slots)
        results = deployment.settings.results
    warm.append(_run_half(bench, 1, second))
    warm_results = [folder for half in range(HALVES) for folder in result_folders(bench.warm_folder(half), bench.slots)]
    agreed = agreement(read_results([results]), read_results(warm_results))
    lines = [*_heading(bench, clips), *_figures(backfill, total(warm)), "", agreement_line(agreed)]
    return "\n".join(lines), agreed.holds


def _run_half(bench: Bench, half: int, items: Sequence[ShardItem]) -> dict[Stage, float]:
    _say(f"warm processes: {len(items)} clips")
    return run_warm(bench.warm_folder(half), bench.archive, items, bench.limits, bench.slots)


def _heading(bench: Bench, clips: Clips) -> list[str]:
    cpus, threads = bench.limits.cpus, max(1, int(bench.limits.cpus))
    return [
        f"{datetime.now(UTC):%Y-%m-%d}, {describe_machine(threads)}; {bench.slots} containers at a time, "
        f"of {cpus:g} CPUs each. Media: {len(clips.items)} clips, {clips.media_s / 60:.1f} min.",
        "",
    ]


def _figures(backfill: MeasuredBackfill, warm: dict[Stage, float]) -> list[str]:
    too_long_s = backfill.wall_s - sum(warm.values()) / AIM
    reached = "reached" if too_long_s <= 0 else f"missed by {too_long_s:.0f} s"
    aim = f"The aim of {AIM:.2f} is {reached}."
    return [*cost_lines(backfill, warm), "", aim, "", *shard_lines(backfill.shards)]


def _warm_table(seconds: dict[Stage, float]) -> str:
    rows = [f"| `{stage}` | {spent_s:.2f} |" for stage, spent_s in seconds.items()]
    return "\n".join(["| | warm, s |", "|---|---|", *rows, f"| all | {sum(seconds.values()):.2f} |"])


@contextmanager
def work_folder(chosen: Path | None) -> Iterator[Path]:
    """An empty folder: the one chosen, which stays, or one that goes.

    Raises:
        ConsoleError: the chosen one holds something, such as results that would be reused.
    """
    if chosen is None:
        with tempfile.TemporaryDirectory(prefix="orchestration-", ignore_cleanup_errors=True) as made:
            yield Path(made)
        return
    chosen.mkdir(parents=True, exist_ok=True)
    if any(chosen.iterdir()):
        raise ConsoleError(f"--work must be an empty folder: {chosen} holds something; choose another")
    yield chosen.resolve()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=int, default=200, help="how many clips (default 200)")
    parser.add_argument("--work", type=Path, help="an empty folder for everything, which stays; else one that goes")
    parser.add_argument("--shard-minutes", type=int, help="expected minutes of a full shard, instead of the setting's")
    parser.add_argument("--warm-only", action="store_true", help="only the warm processes, with images as they are")
    parser.add_argument("--write", type=Path, help="Markdown file to write the table into, between its marks")
    arguments = parser.parse_args(argv)
    if arguments.assets < HALVES:
        parser.error(f"--assets must be {HALVES} or more: it is {arguments.assets}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
