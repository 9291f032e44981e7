"""Where a GPU pays and what to try next, from recorded figures. Decides; does no I/O.

No figures, no advice: every piece names what it was reckoned from, and over how many assets, containers or rounds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from operators.benchmark.figures import LEAST_ROUNDS, Figure, speed_up
from operators.benchmark.store import VariantOutcome
from stage_contract.vocabulary import Phase, Stage, Variant

COMPUTED_ON_GPU: Mapping[Stage, frozenset[Phase]] = {
    Stage.TRANSCRIBE: frozenset({Phase.LANGUAGE_DETECTION, Phase.TRANSCRIPTION}),
    Stage.ANALYZE: frozenset({Phase.CLIP, Phase.DETECTION}),
}
"""What the cuda builds compute on the GPU; the rest of a stage stays on the CPU."""

LEAST_ASSETS = 5
"""With fewer, one odd file is the median or next to it."""

PAYS = 1.5
"""A GPU that is not half as fast again does not make up for its own wait, check and lease on short media."""

EVEN = 1.1
"""Less is within what ordinary runs vary by."""

LITTLE_GAIN = 2.0
"""A GPU computes a network several times as fast as a CPU; where it does not, moving data and starting kernels fill the
time."""

HALF = 0.5
"""The larger part of the time decides."""

LARGE_OVERHEAD = 0.2
GOOD_OVERHEAD = 0.1
"""A container's start, imports and models: a fifth of its time is worth a change, a tenth is not."""


class AdviceKind(StrEnum):
    """What a piece of advice is about."""

    PAYS = "pays on the GPU"
    DOES_NOT_PAY = "does not pay on the GPU"
    TRY = "to try"
    USE = "use"
    AVOID = "avoid"


@dataclass(frozen=True)
class Advice:
    """One piece. `figures` are what it was reckoned from, `n` over how many of `counted`."""

    kind: AdviceKind
    stage: Stage
    text: str
    figures: tuple[str, ...]
    n: int
    counted: str
    source: str


@dataclass(frozen=True)
class Spread:
    """Seconds of one phase: quartiles over `n` occurrences."""

    phase: str
    n: int
    q1_s: float
    median_s: float
    q3_s: float


@dataclass(frozen=True)
class StageWork:
    """What a stage took on one variant in ordinary runs.

    `in_all` and `phases` are seconds for a minute of media, one occurrence an asset; `overheads` seconds for a
    container. The sums are over all `containers`. Phases may go on side by side: what overlaps counts once in `in_all`
    and in `work_s`. `peak_vram_mib` is the most that a container was seen to take, `capacity_mib` what its device has;
    both are none where nobody measured.
    """

    stage: Stage
    variant: Variant
    containers: int
    since: datetime
    devices: tuple[str, ...]
    compute_types: tuple[str, ...]
    models: tuple[str, ...]
    in_all: Spread
    phases: tuple[Spread, ...]
    overheads: tuple[Spread, ...]
    overhead_s: float
    work_s: float
    peak_vram_mib: int | None = None
    capacity_mib: int | None = None

    @property
    def assets(self) -> int:
        """How many were worked on."""
        return self.in_all.n

    def phases_s(self, which: Iterable[str]) -> float:
        """Seconds for a minute of media that these phases take. One that not every asset has counts less."""
        wanted = {*which}
        return sum(one.median_s * min(1.0, one.n / self.assets) for one in self.phases if one.phase in wanted)

    def share(self, which: Iterable[str]) -> float:
        """The part of the work's time in which these phases go on, 0..1.

        It bounds what their end would save: where other phases go on beside them, that is less.
        """
        return min(1.0, self.phases_s(which) / self.in_all.median_s) if self.in_all.median_s > 0 else 0.0

    @property
    def is_side_by_side(self) -> bool:
        """Whether phases overlap by more than ordinary runs vary: the longest then need not be what binds the stage."""
        return self.phases_s(one.phase for one in self.phases) > EVEN * self.in_all.median_s

    @property
    def overhead_share(self) -> float:
        """The part of a container's time that is its start, imports and models."""
        every = self.overhead_s + self.work_s
        return self.overhead_s / every if every else 0.0


@dataclass(frozen=True)
class BenchmarkedVariant:
    """How a variant ran a stage in a benchmark, and its total. `parameters` are those that are not production's."""

    name: str
    outcome: VariantOutcome
    message: str
    build: Variant
    compute_type: str
    batch_size: int
    parameters: str
    total: Figure

    @property
    def setting(self) -> tuple[object, ...]:
        """What sets variants apart: of two with the same, the later benchmark counts."""
        return self.build, self.compute_type, self.batch_size, self.parameters


@dataclass(frozen=True)
class BenchmarkedStage:
    """A stage in a benchmark; the first variant is the reference."""

    benchmark: str
    stage: Stage
    variants: tuple[BenchmarkedVariant, ...]


def advise(work: Sequence[StageWork], benchmarks: Sequence[BenchmarkedStage]) -> list[Advice]:
    """All that the figures tell, by stage; what ordinary runs say goes before what benchmarks say.

    `benchmarks` come the latest first: what one says of two settings, an earlier one is not asked again.
    """
    known = {(one.stage, one.variant): one for one in work if one.assets >= LEAST_ASSETS}
    found: list[Advice] = []
    told: set[tuple[object, ...]] = set()
    for stage in Stage:
        cpu, gpu = known.get((stage, Variant.CPU)), known.get((stage, Variant.CUDA))
        if cpu and gpu:
            found += _device(cpu, gpu)
        elif cpu and stage in COMPUTED_ON_GPU:
            found += _at_most(cpu)
        for one in filter(None, (cpu, gpu)):
            found += _shard_size(one)
        if gpu:
            found += _second_process(gpu)
        for benchmark in benchmarks:
            if benchmark.stage is stage:
                found += _variants(benchmark, told)
    return found


def _device(cpu: StageWork, gpu: StageWork) -> list[Advice]:
    """Whether the GPU pays for this stage, and why. Names no phase that binds it where phases go on side by side."""
    on_gpu = COMPUTED_ON_GPU.get(cpu.stage, frozenset())
    cpu_s, gpu_s = cpu.in_all.median_s, gpu.in_all.median_s
    if cpu_s <= 0 or gpu_s <= 0:
        return []
    gain = cpu_s / gpu_s
    share = cpu.share(on_gpu)
    figures = [
        f"CPU {cpu_s:.2f} s, GPU {gpu_s:.2f} s for a minute of media: {gain:.2f} times as fast",
        f"{share:.0%} of the CPU's time is what the GPU takes over",
    ]
    n = min(cpu.assets, gpu.assets)
    if gain >= PAYS:
        text = "It pays: what the GPU takes over is most of the work." if share >= HALF else "It pays."
        return [_ordinary(AdviceKind.PAYS, cpu.stage, text, figures, n)]
    verdict = "It hardly pays" if gain >= EVEN else "It does not pay"
    found = []
    computed = cpu.phases_s(on_gpu), gpu.phases_s(on_gpu)
    own_gain = computed[0] / computed[1] if computed[1] > 0 else None
    if share < HALF:
        staying = [one for one in gpu.phases if one.phase not in on_gpu and not gpu.is_side_by_side]
        slowest = max(staying, key=lambda one: one.median_s, default=None)
        figures += [f"on the GPU `{slowest.phase}` takes {slowest.median_s:.2f} s a minute"] if slowest else []
        bound = f"`{slowest.phase}`, which stays on the CPU" if slowest else "what stays on the CPU"
        text = f"{verdict}: it is bound by {bound}. Route the stage to the CPU."
    elif own_gain is not None and own_gain < LITTLE_GAIN:
        figures.append(f"what the GPU computes is only {own_gain:.2f} times as fast there")
        text = f"{verdict}: moving data and starting kernels fill its time."
        found.append(
            _ordinary(
                AdviceKind.TRY,
                cpu.stage,
                "Try twice the batch in a benchmark: each transfer and start then serves more."
                if cpu.stage is Stage.ANALYZE
                else "Try another compute type in a benchmark: the smaller moves less.",
                figures,
                n,
            )
        )
    else:
        text = f"{verdict}. Benchmark it on the same media: ordinary runs had different media on the two."
    return [_ordinary(AdviceKind.DOES_NOT_PAY, cpu.stage, text, figures, n), *found]


def _at_most(cpu: StageWork) -> list[Advice]:
    """What a GPU could bring at the very most, where none was used. Less, where other phases go on beside its own."""
    every_s = cpu.in_all.median_s
    if every_s <= 0:
        return []
    share = cpu.share(COMPUTED_ON_GPU[cpu.stage])
    most = 1 / (1 - share) if share < 1 else None
    limit = f"at most {most:.1f} times as fast, were that free" if most else "no bound"
    figures = [f"{share:.0%} of {every_s:.2f} s for a minute of media is what a GPU would take over: {limit}"]
    if share >= HALF:
        text = "Try a GPU: most of the time is spent in what it would take over."
        return [_ordinary(AdviceKind.TRY, cpu.stage, text, figures, cpu.assets)]
    text = "A GPU would bring little: most of the time is spent in what stays on the CPU."
    return [_ordinary(AdviceKind.DOES_NOT_PAY, cpu.stage, text, figures, cpu.assets)]


def _shard_size(one: StageWork) -> list[Advice]:
    """Whether containers spend too much of their time on getting ready."""
    share = one.overhead_share
    if share < LARGE_OVERHEAD or one.work_s <= 0:
        return []
    larger = one.overhead_s * (1 - GOOD_OVERHEAD) / (GOOD_OVERHEAD * one.work_s)
    longest = max(one.overheads, key=lambda spread: spread.median_s, default=None)
    figures = [
        f"{share:.0%} of a container's time is its start, imports and models, with {one.assets / one.containers:.1f} "
        "assets in each"
    ]
    figures += [f"`{longest.phase}` takes {longest.median_s:.2f} s of each container"] if longest else []
    text = f"Try shards {larger:.1f} times as large on {_where(one)}: that leaves {GOOD_OVERHEAD:.0%}."
    return [Advice(AdviceKind.TRY, one.stage, text, tuple(figures), one.containers, "containers", "ordinary runs")]


def _second_process(gpu: StageWork) -> list[Advice]:
    """Whether the GPU idles for half of the work's time or longer, and has room for another container.

    It idles while no phase of its own goes on, whatever else does.
    """
    every_s = gpu.in_all.median_s
    idle_share = 1 - gpu.share(COMPUTED_ON_GPU.get(gpu.stage, frozenset()))
    if every_s <= 0 or idle_share < HALF or not gpu.peak_vram_mib or not gpu.capacity_mib:
        return []
    figures = [
        f"the GPU idles for {idle_share:.0%} of {every_s:.2f} s for a minute of media",
        f"a container took {gpu.peak_vram_mib} MiB of {gpu.capacity_mib} at most",
    ]
    if 2 * gpu.peak_vram_mib > gpu.capacity_mib:
        return []
    text = "Try a second process on the same GPU: it is idle half of the time, and both fit (NIGHTREEL_GPU_BUDGET_MIB)."
    return [_ordinary(AdviceKind.TRY, gpu.stage, text, figures, gpu.assets)]


def _variants(benchmark: BenchmarkedStage, told: set[tuple[object, ...]]) -> list[Advice]:
    """What a benchmark's variants say against their reference; `told` are the pairs of settings that are done with."""
    reference, *others = benchmark.variants
    found = []
    for other in others:
        gain = speed_up(reference.total, other.total)
        n = min(reference.total.n, other.total.n)
        pair = (benchmark.stage, reference.setting, other.setting)
        if gain is None or n < LEAST_ROUNDS or pair in told:
            continue
        told.add(pair)
        totals = ", ".join(f"{one.name} {_figure(one.total)}" for one in (reference, other))
        figures = [f"{totals}: {gain:.2f} times as fast"]
        changed = _changed(reference, other)
        if other.outcome is VariantOutcome.WRONG:
            figures.append(other.message)
            kind, text = AdviceKind.AVOID, f"Do not use {changed}: its outputs are others, however fast it is."
        elif gain >= EVEN and other.total.q3_s < reference.total.q1_s:
            kind, text = AdviceKind.USE, f"Use {changed}: it is faster beyond the spread, and its outputs agree."
        elif gain <= 1 / EVEN and other.total.q1_s > reference.total.q3_s:
            kind, text = AdviceKind.AVOID, f"Do not use {changed}: it is slower beyond the spread."
        else:
            kind, text = AdviceKind.AVOID, f"Leave {changed} alone: it makes no difference beyond the spread."
        found.append(Advice(kind, benchmark.stage, text, tuple(figures), n, "rounds", benchmark.benchmark))
    return found


def _changed(reference: BenchmarkedVariant, other: BenchmarkedVariant) -> str:
    """What sets a variant apart from the reference."""
    parts = []
    if other.build is not reference.build:
        parts.append(f"the {'GPU' if other.build is Variant.CUDA else 'CPU'}")
    if other.compute_type != reference.compute_type:
        parts.append(f"compute type {other.compute_type}")
    if other.batch_size != reference.batch_size:
        parts.append(f"batch {other.batch_size}")
    if other.parameters != reference.parameters:
        parts.append(other.parameters or "production's parameters")
    return " with ".join(parts) or other.name


def _figure(figure: Figure) -> str:
    return f"{figure.median_s:.2f} s [{figure.q1_s:.2f}, {figure.q3_s:.2f}]"


def _where(one: StageWork) -> str:
    return "the GPU" if one.variant is Variant.CUDA else "the CPU"


def _ordinary(kind: AdviceKind, stage: Stage, text: str, figures: Sequence[str], n: int) -> Advice:
    return Advice(kind, stage, text, tuple(figures), n, "assets", "ordinary runs")
