"""What a stage's container costs before it does anything: imports and models, beside images of before."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from operators.settings import ContainerLimits
from stage_contract.vocabulary import Phase, Stage
from tests.bench.rounds import Table, cell, finding, heading, in_turns, ratio, row, spread
from tests.bench.stage_shard import OURS, StageImages, StageShard, container_seconds, phase_seconds

ONE_CPU = ContainerLimits(cpus=1, memory_mib=2048, pids=256)
NOW = "ours"


@dataclass(frozen=True)
class Start:
    """Seconds of a container with one tiny file."""

    import_s: float
    model_load_s: float
    whole_s: float

    @property
    def start_s(self) -> float:
        """Imports and models."""
        return self.import_s + self.model_load_s


def compare_starts(folder: Path, archive: Path, clip: str, rounds: int, against: StageImages | None) -> Table:
    """Each stage's start, in containers of one CPU.

    Raises:
        BenchFailed: a stage failed.
    """
    shard = StageShard(folder, archive, [clip], ONE_CPU)
    sides = list({NOW: OURS} | ({against.prefix: against} if against else {}))
    before = [f"{against.prefix} / ours", f"{against.prefix} / ours, whole container"] if against else []
    columns = [f"{side}, {told}, s" for side in sides for told in ("import", "model_load", "whole container")]
    lines, findings = heading("stage", *columns, *before), []
    for stage in Stage:
        runs: dict[str, Callable[[], Start]] = {NOW: partial(_start, shard, stage, OURS)}
        if against:
            runs[against.prefix] = partial(_start, shard, stage, against)
        # What was read from disk for the first time does not count.
        in_turns(runs, 1)
        done = in_turns(runs, rounds)
        lines.append(_row(stage, sides, done))
        if against:
            starts = [{side: start.start_s for side, start in r.items()} for r in done]
            findings.append(finding(f"`{stage}`: import and model load", "s", starts, against.prefix, NOW))
    return Table(lines, findings)


def _start(shard: StageShard, stage: Stage, images: StageImages) -> Start:
    finished = shard.run(stage, images)
    seconds = phase_seconds(finished)
    return Start(seconds.get(Phase.IMPORT, 0.0), seconds.get(Phase.MODEL_LOAD, 0.0), container_seconds(finished))


def _row(stage: Stage, sides: Sequence[str], done: Sequence[Mapping[str, Start]]) -> str:
    cells = []
    for side in sides:
        starts = [starts[side] for starts in done]
        for values in zip(*((one.import_s, one.model_load_s, one.whole_s) for one in starts), strict=True):
            cells.append(cell(spread(values)))
    for other in sides[1:]:
        for take in (lambda one: one.start_s, lambda one: one.whole_s):
            rounds = [{side: take(start) for side, start in starts.items()} for starts in done]
            cells.append(f"**{cell(ratio(rounds, other, NOW))}**")
    return row(f"`{stage}`", *cells)
