"""A shard through all stages: where its time goes, and what one container for all of its assets brings."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from stage_contract.outputs import PROBE_FILE, ProbeOutput
from stage_contract.vocabulary import Phase, Stage
from tests.bench.rounds import Table, cell, finding, heading, in_turns, ratio, row, spread
from tests.bench.stage_shard import OURS, StageImages, StageShard, item_seconds, phase_seconds
from tests.stage_container import Finished

NOW = "ours"
HOUR_S = 3600
PER_ASSET, PER_SHARD = "one container per asset and stage", "one container per shard and stage"

Runs = Sequence[Mapping[str, Mapping[Stage, Finished]]]


def compare_shards(
    folder: Path, archive: Path, names: Sequence[str], rounds: int, against: StageImages | None
) -> Table:
    """The same assets, once alone in their containers and once together, in turns.

    Raises:
        BenchFailed: a stage failed.
    """
    together = StageShard(folder / "shard", archive, names)
    alone = [StageShard(folder / str(index), archive, [name]) for index, name in enumerate(names)]
    sides: dict[str, Callable[[], float]] = {}
    for images in (OURS, against):
        if images:
            told = "" if images is OURS else f", {images.prefix}"
            sides[f"{PER_ASSET}{told}"] = partial(_wall_s, alone, images)
            sides[f"{PER_SHARD}{told}"] = partial(_wall_s, [together], images)
    done = in_turns(sides, rounds)
    lines = heading("all stages", f"s for {len(names)} assets", f"by {PER_SHARD}")
    for side in sides:
        took = cell(spread([times[side] for times in done]))
        lines.append(row(side, took, f"**{cell(ratio(done, side, PER_SHARD))}**"))
    found = [
        finding(f"all stages over {len(names)} clips: {side}", "s", done, side, PER_SHARD)
        for side in sides
        if side.startswith(PER_ASSET)
    ]
    return Table(lines, found)


def compare_phases(folder: Path, archive: Path, film: str, rounds: int, against: StageImages | None) -> Table:
    """Each stage's share of a film's time, then its phases, beside those of before.

    Raises:
        BenchFailed: a stage failed.
    """
    shard = StageShard(folder, archive, [film])
    sides: dict[str, Callable[[], Mapping[Stage, Finished]]] = {NOW: partial(shard.run_all, tuple(Stage), OURS)}
    if against:
        sides = {against.prefix: partial(shard.run_all, tuple(Stage), against), **sides}
    done = in_turns(sides, rounds)
    duration_s = done[0][NOW][Stage.PROBE].output(film, PROBE_FILE, ProbeOutput).duration_s
    lines = [*_shares(done, film, duration_s)]
    for stage in Stage:
        lines += ["", f"`{stage}`:", "", *_phases(done, stage)]
    return Table(lines)


def _wall_s(shards: Sequence[StageShard], images: StageImages) -> float:
    started_s = time.monotonic()
    for shard in shards:
        shard.run_all(tuple(Stage), images)
    return time.monotonic() - started_s


def _shares(done: Runs, film: str, duration_s: float) -> list[str]:
    lines = heading("stage", *(text for side in done[0] for text in (f"{side}, s per hour of media", "share")))
    per_hour = HOUR_S / duration_s
    hourly = [
        {side: {stage: item_seconds(run, film) * per_hour for stage, run in runs.items()} for side, runs in r.items()}
        for r in done
    ]
    for stage in Stage:
        cells = []
        for side in done[0]:
            shares = spread([r[side][stage] / sum(r[side].values()) for r in hourly])
            cells += [cell(spread([r[side][stage] for r in hourly])), f"{shares.middle:.1%}"]
        lines.append(row(f"`{stage}`", *cells))
    return lines


def _phases(done: Runs, stage: Stage) -> list[str]:
    sides = list(done[0])
    seconds = [{side: phase_seconds(runs[stage]) for side, runs in r.items()} for r in done]
    phases = list(dict.fromkeys(phase for side in sides for phase in seconds[0][side]))
    lines = heading("phase", *(f"{side}, s" for side in sides))
    for phase in phases:
        lines.append(row(f"`{phase}`", *(_phase_cell([r[side] for r in seconds], phase) for side in sides)))
    return lines


def _phase_cell(rounds: Sequence[Mapping[Phase, float]], phase: Phase) -> str:
    return cell(spread([r[phase] for r in rounds])) if all(phase in r for r in rounds) else ""
