"""How long work takes: estimates from rates, and how far off they may be. Decides; does no I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from operators.routing import has_gpu_build
from stage_contract.parameters import AnalyzeParameters
from stage_contract.vocabulary import Stage, Variant

OVER_ALL = ""
"""The key of the density over all endings."""

GUESSED_LENGTH_FACTOR = 3.0
"""Media that was not probed may be so many times shorter or longer than its size suggests: one ending holds both
a camera's 50 Mbit/s and a web copy's 3, with most files within a factor of three of their median."""

AIRFLOW_S = 4.0
"""What Airflow takes of a run around its stages: seven short tasks (finding assets, two sensors, two branches,
publishing and its gate) of 0.4 s, and gaps of 0.16 s between them, as measured on two cores."""


@dataclass(frozen=True)
class MediaFacts:
    """What decides how much work an asset is. `is_known` is false while it has not been probed: then `duration_s` is
    what its size suggests, and it may have both sound and pictures."""

    duration_s: float
    is_known: bool
    has_audio: bool
    has_video: bool


@dataclass(frozen=True)
class Rate:
    """How fast a stage works: an asset takes `per_item_s + per_media_s * duration`, a container `per_container_s` more.

    Of ten assets eight took between `low` and `high` times that. `samples` is over how many it was measured.
    """

    stage: Stage
    variant: Variant
    per_item_s: float
    per_media_s: float
    per_container_s: float
    low: float
    high: float
    samples: int = 0

    def item_s(self, duration_s: float) -> float:
        """Expected work on an asset of this duration."""
        return self.per_item_s + self.per_media_s * counted_s(self.stage, duration_s)


Rates = Mapping[tuple[Stage, Variant], Rate]


@dataclass(frozen=True)
class Estimate:
    """Seconds, `shortest_s <= expected_s <= longest_s`; eight of ten lie between the outer two.

    Sums add shortest to shortest and longest to longest, as if all errors went the same way. They mostly do: the
    items of a sum share their rates and their night. Were the errors independent, a sum would be surer than this.
    """

    expected_s: float = 0.0
    shortest_s: float = 0.0
    longest_s: float = 0.0

    def __add__(self, other: "Estimate") -> "Estimate":
        return Estimate(
            self.expected_s + other.expected_s, self.shortest_s + other.shortest_s, self.longest_s + other.longest_s
        )


@dataclass(frozen=True)
class Stretch:
    """How much longer than its work a run takes: waits for slots and Airflow lengthen it, stages side by side shorten
    it. `median` and `ninth` are the middle and the ninth tenth of what was recorded, over `samples` shards. To start
    with, one run more than there are slots shares them: 1.5 on two slots, 1.25 on four."""

    median: float = 1.4
    ninth: float = 2.1
    samples: int = 0


def _rate(stage: Stage, variant: Variant, per_item_s: float, per_media_s: float, per_container_s: float) -> Rate:
    return Rate(stage, variant, per_item_s, per_media_s, per_container_s, low=1 / 3, high=3.0)


STARTING_RATES: dict[tuple[Stage, Variant], Rate] = {
    (rate.stage, rate.variant): rate
    for rate in (
        # Containers: 0.4 s to make and remove one and 0.6 s for its task (measured on two cores), and what it imports
        # and loads: media half a second; audio 3 to 6 s, vision 8 s, nlp 5 to 8 s from a cold disk.
        # Header and first packets are read: reckoned, not measured.
        _rate(Stage.PROBE, Variant.CPU, 0.2, 0.0, 1.5),
        # A sound track is decoded at a hundred times its speed, once, and its loudness taken: reckoned, not measured.
        _rate(Stage.EXTRACT, Variant.CPU, 0.2, 0.01, 1.5),
        # docs/benchmarks.md: 6.8 s of 222 s of speech on two CPUs, taken for twice that on one; and 1.4 s of a clip of
        # 2 s, since a window of 30 s is read for it all the same (Whisper base.en).
        _rate(Stage.TRANSCRIBE, Variant.CPU, 1.2, 0.061, 5.0),
        # No figures of our own. faster-whisper's published benchmark, large-v2 in float16 with beam 5: 63 s of 13 min.
        _rate(Stage.TRANSCRIBE, Variant.CUDA, 0.1, 0.08, 8.0),
        # docs/benchmarks.md, 720p: text takes 0.14 s of a second on two CPUs, the rest 0.06 s; twice that on one.
        _rate(Stage.ANALYZE, Variant.CPU, 0.1, 0.4, 9.0),
        # No figures of our own. What is left of that when detection and CLIP cost nothing: text is read on the CPU.
        _rate(Stage.ANALYZE, Variant.CUDA, 0.1, 0.3, 12.0),
        # The demo's two clips took 0.13 s; work grows with the words said.
        _rate(Stage.ENRICH, Variant.CPU, 0.1, 0.0005, 7.0),
    )
}
"""What is assumed where nothing is recorded, as far off as a factor of three."""

# Bytes per second of media. Sound: PCM at 48 kHz in 16 bit, and usual rates of codecs. All else as video of 8 Mbit/s.
STARTING_DENSITIES = {
    ".wav": 192_000.0, ".aif": 192_000.0, ".aiff": 192_000.0, ".flac": 100_000.0,
    ".mp3": 16_000.0, ".m4a": 16_000.0, ".aac": 16_000.0, ".ogg": 16_000.0, ".opus": 12_000.0,
}  # fmt: skip
STARTING_DENSITY = 1_000_000.0

# A long asset is sampled more thinly from here on (AnalyzeParameters.max_frames): what is left to do then is to decode.
SAMPLED_S = AnalyzeParameters().max_frames * AnalyzeParameters().interval_s
DECODE_SHARE = 0.1


def counted_s(stage: Stage, duration_s: float) -> float:
    """The seconds of media by which a stage's work grows. Of an hour and more, vision looks at a sample only."""
    if stage is not Stage.ANALYZE:
        return duration_s
    return min(duration_s, SAMPLED_S) + DECODE_SHARE * max(0.0, duration_s - SAMPLED_S)


def item_work(facts: MediaFacts, stages: Iterable[Stage], gpu: bool, rates: Rates) -> Estimate:
    """The serial work of these stages on one asset, on the GPU where there is a build for it and `gpu` says so.

    A stage that the media has nothing for (no sound, no pictures) costs nothing. Of media that was not probed all
    stages count, and its length is as unsure as `GUESSED_LENGTH_FACTOR` says.
    """
    return sum((_stage_work(facts, rates[key]) for key in _kinds(stages, gpu) if _applies(key[0], facts)), Estimate())


def container_overhead(stages: Iterable[Stage], gpu: bool, rates: Rates) -> float:
    """What a run costs whatever its assets: seconds for containers, imports, models and Airflow."""
    return AIRFLOW_S + sum(rates[key].per_container_s for key in _kinds(stages, gpu))


def stretched(work: Estimate, overhead_s: float, stretch: Stretch) -> Estimate:
    """How long a run takes whose assets are this much work.

    The stretch of recorded runs holds both what waits added and how far their estimates were off. So the longest is
    what nine of ten runs took, or this work at its longest in a run like most, whichever is more: not both at once.
    """
    expected_s = (overhead_s + work.expected_s) * stretch.median
    shortest_s = (overhead_s + work.shortest_s) * stretch.median
    longest_s = (overhead_s + work.longest_s) * stretch.median
    return Estimate(expected_s, shortest_s, max(longest_s, (overhead_s + work.expected_s) * stretch.ninth))


def media_seconds(size_bytes: int, suffix: str, densities: Mapping[str, float]) -> float:
    """How long media that was not probed may be.

    Args:
        size_bytes: Of the file.
        suffix: The ending of its name with the dot, such as `.mp4`; case does not count.
        densities: Bytes per second as recorded, by ending in lower case, and over all by `OVER_ALL`.
    """
    ending = suffix.lower()
    over_all = densities.get(OVER_ALL, STARTING_DENSITY)
    return size_bytes / densities.get(ending, STARTING_DENSITIES.get(ending, over_all))


def _kinds(stages: Iterable[Stage], gpu: bool) -> list[tuple[Stage, Variant]]:
    return [(stage, Variant.CUDA if gpu and has_gpu_build(stage) else Variant.CPU) for stage in stages]


def _applies(stage: Stage, facts: MediaFacts) -> bool:
    if not facts.is_known or stage is Stage.PROBE:
        return True
    return facts.has_video if stage is Stage.ANALYZE else facts.has_audio


def _stage_work(facts: MediaFacts, rate: Rate) -> Estimate:
    unsure = 1.0 if facts.is_known else GUESSED_LENGTH_FACTOR
    return Estimate(
        rate.item_s(facts.duration_s),
        rate.item_s(facts.duration_s / unsure) * rate.low,
        rate.item_s(facts.duration_s * unsure) * rate.high,
    )
