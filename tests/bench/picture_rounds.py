"""vision.analyze against the path that teams start with: every frame decoded at full size, one picture at a time."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

from stage_contract.outputs import Frame
from stage_contract.vocabulary import Stage
from tests.bench.bench_media import BenchMedia
from tests.bench.rounds import Table, cell, finding, heading, in_turns, ratio, row, spread
from tests.bench.seen import Sight, agreement
from tests.bench.sound_rounds import BASELINES
from tests.bench.stage_shard import OURS, StageImages, StageShard, frames, item_seconds, run_plain
from tests.stage_container import read_only

PLAIN, NOW = "baseline", "ours"
LEAST_F1 = 0.995
LEAST_COSINE = 0.99
MOST_QUALITY_OFF = 0.01
LEAST_TEXT_F1 = 0.99


@dataclass(frozen=True)
class Seen:
    """What one side took for each film, s, and found in its sampled frames."""

    seconds: Mapping[str, float]
    frames: Mapping[str, Sequence[Frame]]


class PlainAnalysis:
    """The baseline's script in an image that holds its libraries. It looks at the frames that the stage looks at."""

    def __init__(self, image: str, scratch: Path, archive: Path, text: bool) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self._image = image
        self._scratch = scratch
        self._archive = archive
        self._options = ["--text"] if text else []

    def run(self, times_s: Mapping[str, Sequence[float]]) -> Seen:
        """Analyse films at the times given.

        Raises:
            BenchFailed: it failed.
        """
        wanted = {f"/films/{name}": list(times) for name, times in times_s.items()}
        (self._scratch / "sampling.json").write_text(json.dumps(wanted))
        command = ["python", "/baselines/vision_plain.py", "/scratch/sampling.json", *self._options]
        volumes = [(BASELINES, "/baselines"), (self._archive, "/films"), (self._scratch, "/scratch")]
        told = run_plain(self._image, command, *(read_only(path, seen_as) for path, seen_as in volumes))
        films = dict(zip(times_s, told["films"], strict=True))
        return Seen(
            seconds={name: film["seconds"] for name, film in films.items()},
            frames={name: [Frame.model_validate(frame) for frame in film["frames"]] for name, film in films.items()},
        )


def compare_pictures(
    folder: Path, media: BenchMedia, rounds: int, against: StageImages | None, reference: str, *, text: bool
) -> Table:
    """Both sides in turns, on the same films, frames, weights and threads.

    Raises:
        BenchFailed: a side failed.
    """
    shard = StageShard(folder, media.archive, media.films)
    shard.run(Stage.PROBE)
    plain = PlainAnalysis(reference, folder / "plain", media.archive, text)
    first = see_stage(shard, media.films, OURS, text)
    times_s = {name: [frame.time_s for frame in first.frames[name]] for name in media.films}
    sides: dict[str, Callable[[], Seen]] = {
        PLAIN: lambda: plain.run(times_s),
        NOW: partial(see_stage, shard, media.films, OURS, text),
    }
    if against:
        sides[against.prefix] = partial(see_stage, shard, media.films, against, text)
    done = in_turns(sides, rounds)
    agreed = {f"`{name}`": agreement(done[-1][PLAIN].frames[name], done[-1][NOW].frames[name]) for name in media.films}
    agreed["all"] = agreement(
        *([f for found in done[-1][side].frames.values() for f in found] for side in (PLAIN, NOW))
    )
    every = _mean(done, media.films)
    told = "with text" if text else "without text"
    found = finding(f"`vision.analyze` {told}", "ms a frame", every, PLAIN, NOW, str(agreed["all"]))
    lines = [*_speed(media.films, done), _speed_row("mean of the films", "", every), "", *_agreement(agreed, text)]
    return Table(lines, [found], holds(agreed["all"]))


def holds(sight: Sight) -> bool:
    """Whether the stage finds what the baseline finds."""
    return (
        sight.detections_f1 >= LEAST_F1
        and sight.lowest_cosine >= LEAST_COSINE
        and sight.quality_off <= MOST_QUALITY_OFF
        and sight.text_f1 >= LEAST_TEXT_F1
    )


def see_stage(shard: StageShard, films: Sequence[str], images: StageImages, text: bool) -> Seen:
    """The stage, once over all films. The shard has been through probe."""
    finished = shard.run(Stage.ANALYZE, images, ocr=text)
    return Seen(
        seconds={name: item_seconds(finished, name) for name in films},
        frames={name: frames(finished, name) for name in films},
    )


def _speed(films: Sequence[str], done: Sequence[Mapping[str, Seen]]) -> list[str]:
    sides = list(done[0])
    lines = heading("film", "sampled frames", *(f"{side}, ms a frame" for side in sides), "baseline / ours")
    for name in films:
        lines.append(_speed_row(f"`{name}`", str(len(done[0][NOW].frames[name])), _per_frame_ms(done, name)))
    return lines


def _per_frame_ms(done: Sequence[Mapping[str, Seen]], film: str) -> list[dict[str, float]]:
    # By a side's own frames: images of before may look at others.
    return [{side: 1000 * seen.seconds[film] / len(seen.frames[film]) for side, seen in r.items()} for r in done]


def _mean(done: Sequence[Mapping[str, Seen]], films: Sequence[str]) -> list[dict[str, float]]:
    of_films = [_per_frame_ms(done, film) for film in films]
    return [{side: fmean(times[side] for times in r) for side in done[0]} for r in zip(*of_films, strict=True)]


def _speed_row(name: str, count: str, rounds: Sequence[Mapping[str, float]]) -> str:
    took = [cell(spread([times[side] for times in rounds])) for side in rounds[0]]
    return row(name, count, *took, f"**{cell(ratio(rounds, PLAIN, NOW))}**")


def _agreement(agreed: Mapping[str, Sight], text: bool) -> list[str]:
    lines = heading("film", "boxes", "F1 of detections at IoU 0.5", "lowest cosine of CLIP vectors", "quality off by")
    if text:
        lines = heading("film", "lines of text", "F1 of lines", "F1 of detections at IoU 0.5")
    for name, sight in agreed.items():
        f1 = f"{sight.detections_f1:.4f}"
        cells = [str(sight.boxes), f1, f"{sight.lowest_cosine:.5f}", f"{sight.quality_off:.2%}"]
        if text:
            cells = [str(sight.lines), f"{sight.text_f1:.4f}", f1]
        lines.append(row(name, *cells))
    return lines
