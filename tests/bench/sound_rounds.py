"""audio.transcribe against faster-whisper as its README shows it: sequential, beam 5, in float32 and in int8."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from operators.routing import image_for
from stage_contract.vocabulary import Stage, Variant
from tests.bench.bench_media import BenchMedia, Recording
from tests.bench.heard import Drift, Spoken, Utterance, drift, error_rate, invented_words
from tests.bench.rounds import Table, cell, finding, heading, in_turns, number, ratio, row, spread
from tests.bench.stage_shard import OURS, StageImages, StageShard, item_seconds, run_plain, transcript
from tests.stage_container import read_only

BASELINES = Path(__file__).parent / "baselines"
FLOAT32, INT8, NOW = "float32", "int8", "ours"
MOST_POINTS = 0.5
MOST_DRIFT_S = 0.3


@dataclass(frozen=True)
class Heard:
    """What one side took for each recording, s, and heard in it."""

    seconds: Mapping[str, float]
    utterances: Mapping[str, tuple[Utterance, ...]]


@dataclass(frozen=True)
class SoundAgreement:
    """Of one recording. Rates are word error rates against its known text, 0..1."""

    rates: Mapping[str, float]
    drift: Drift
    invented: Mapping[str, int]

    @property
    def points(self) -> float:
        """By how many points our rate is above the better baseline's; less than 0 where it is below."""
        return 100 * (self.rates[NOW] - min(self.rates[FLOAT32], self.rates[INT8]))

    @property
    def holds(self) -> bool:
        """Within half a point, at times within 0.3 s, and nothing heard where nobody speaks."""
        return self.points <= MOST_POINTS and self.drift.segments_s <= MOST_DRIFT_S and not self.invented[NOW]

    def __str__(self) -> str:
        return (
            f"word errors {self.points:+.2f} points, times within {number(self.drift.segments_s)} s at p95, "
            f"{self.invented[NOW]} words invented"
        )


def compare_sound(
    folder: Path, media: BenchMedia, rounds: int, against: StageImages | None, recordings: Sequence[Recording]
) -> Table:
    """Both sides in turns, on the same recordings, weights and threads.

    Raises:
        BenchFailed: a side failed.
    """
    shard = StageShard(folder, media.archive, [recording.name for recording in recordings])
    shard.run_all((Stage.PROBE, Stage.EXTRACT))
    sides: dict[str, Callable[[], Heard]] = {
        FLOAT32: partial(hear_plain, media.archive, recordings, FLOAT32),
        INT8: partial(hear_plain, media.archive, recordings, INT8),
        NOW: partial(hear_stage, shard, recordings, OURS),
    }
    if against:
        sides[against.prefix] = partial(hear_stage, shard, recordings, against)
    done = in_turns(sides, rounds)
    timed_words = hear_plain(media.archive, recordings, FLOAT32, "--words")
    agreed = {recording.name: agreement(recording, done[-1], timed_words) for recording in recordings}
    lines = [*_speed(recordings, done), "", *_agreement(recordings, agreed)]
    findings = [
        finding(
            f"`audio.transcribe`, `{recording.name}`, faster-whisper in {baseline}",
            "s",
            _times(done, recording),
            baseline,
            NOW,
            str(agreed[recording.name]),
        )
        for recording in recordings
        for baseline in (FLOAT32, INT8)
    ]
    return Table(lines, findings, all(one.holds for one in agreed.values()))


def agreement(recording: Recording, sides: Mapping[str, Heard], timed_words: Heard) -> SoundAgreement:
    """How far the sides agree on a recording. `timed_words` is the float32 baseline with times of words."""
    heard = {name: side.utterances[recording.name] for name, side in sides.items()}
    return SoundAgreement(
        rates={name: error_rate(recording.text, utterances) for name, utterances in heard.items()},
        drift=drift(timed_words.utterances[recording.name], heard[NOW]),
        invented={name: invented_words(utterances, recording.quiet) for name, utterances in heard.items()},
    )


def _speed(recordings: Sequence[Recording], done: Sequence[Mapping[str, Heard]]) -> list[str]:
    sides = list(done[0])
    lines = heading("recording", *(f"{side}, s" for side in sides), "float32 / ours", "int8 / ours")
    for recording in recordings:
        rounds = _times(done, recording)
        took = [cell(spread([times[side] for times in rounds])) for side in sides]
        ratios = [f"**{cell(ratio(rounds, baseline, NOW))}**" for baseline in (FLOAT32, INT8)]
        lines.append(row(f"`{recording.name}`, {recording.duration_s:.0f} s", *took, *ratios))
    return lines


def _times(done: Sequence[Mapping[str, Heard]], recording: Recording) -> list[dict[str, float]]:
    return [{side: heard.seconds[recording.name] for side, heard in sides.items()} for sides in done]


def _agreement(recordings: Sequence[Recording], agreed: Mapping[str, SoundAgreement]) -> list[str]:
    sides = list(agreed[recordings[0].name].rates)
    lines = heading(
        "recording",
        *(f"word errors, {side}" for side in sides),
        "points above the better baseline",
        "utterances' times off at p95, s",
        "words' times off at p95, s",
        "words heard where nobody speaks: " + ", ".join(sides),
    )
    for recording in recordings:
        one = agreed[recording.name]
        lines.append(
            row(
                f"`{recording.name}`",
                *(f"{one.rates[side]:.2%}" for side in sides),
                f"{one.points:+.2f}",
                number(one.drift.segments_s),
                number(one.drift.words_s),
                ", ".join(str(one.invented[side]) for side in sides) if recording.quiet else "",
            )
        )
    return lines


def hear_plain(archive: Path, recordings: Sequence[Recording], compute_type: str, *options: str) -> Heard:
    """The baseline, once over all recordings, in production's image and under its restrictions."""
    command = ["python", "/baselines/whisper_plain.py", "--compute-type", compute_type, *options]
    files = [f"/recordings/{recording.name}" for recording in recordings]
    volumes = read_only(BASELINES, "/baselines"), read_only(archive, "/recordings")
    told = run_plain(image_for(Stage.TRANSCRIBE, Variant.CPU), [*command, *files], *volumes)
    pairs = list(zip(recordings, told["transcripts"], strict=True))
    return Heard(
        seconds={recording.name: one["seconds"] for recording, one in pairs},
        utterances={recording.name: tuple(map(_utterance, one["segments"])) for recording, one in pairs},
    )


def _utterance(segment: Mapping[str, Any]) -> Utterance:
    words = tuple(Spoken(**word) for word in segment["words"])
    return Utterance(segment["start_s"], segment["end_s"], segment["text"], words)


def hear_stage(shard: StageShard, recordings: Sequence[Recording], images: StageImages) -> Heard:
    """The stage, once over all recordings. The shard has been through probe and extract."""
    finished = shard.run(Stage.TRANSCRIBE, images)
    return Heard(
        seconds={recording.name: item_seconds(finished, recording.name) for recording in recordings},
        utterances={
            recording.name: tuple(
                Utterance(
                    segment.start_s,
                    segment.end_s,
                    segment.text,
                    tuple(Spoken(word.start_s, word.end_s, word.text) for word in segment.words),
                )
                for segment in transcript(finished, recording.name).segments
            )
            for recording in recordings
        },
    )
