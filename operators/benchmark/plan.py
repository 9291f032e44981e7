"""What a benchmark is to measure, and in which order. Decides; does no I/O."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from operators.errors import ChoiceInvalid
from operators.gpu.configuration import GpuConfiguration
from operators.routing import INPUTS, has_gpu_build
from operators.stage_plan import full_parameters
from stage_contract.resources import BATCH_SIZES, DEFAULT_COMPUTE_TYPE, default_batch_size
from stage_contract.vocabulary import Stage, Variant

BENCHMARK_DAG_ID = "benchmark_devices"
MOST_VARIANTS = 8
MOST_REPEATS = 20
# Each asset goes through every variant in every round.
MOST_ASSETS = 20

MEASURED_STAGES = (Stage.TRANSCRIBE, Stage.ANALYZE, Stage.ENRICH)

COMPUTE_TYPES: dict[tuple[Stage, Variant], tuple[str, ...]] = {
    (Stage.TRANSCRIBE, Variant.CPU): ("int8", "int8_float32", "int16", "bfloat16", "float32"),
    (Stage.TRANSCRIBE, Variant.CUDA): (
        *("float16", "int8_float16", "int8", "int8_float32", "bfloat16", "int8_bfloat16", "float32"),
    ),
    (Stage.ANALYZE, Variant.CPU): ("int8_bfloat16", "bfloat16", "float32"),
    (Stage.ANALYZE, Variant.CUDA): ("float16", "bfloat16", "float32"),
}
"""What a person may choose; a device that lacks one refuses it, with the reason. Other stages have one type only."""


class VariantChoice(BaseModel):
    """One way to run stages. Without a compute type or batch size, each stage takes its own.

    `parameters` are those of stages that differ from production's, see `stage_contract.parameters`. A stage that
    `device` has no build for runs on the CPU, as it does in production.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=60, pattern=r"^[\w .:/+-]+$")
    stages: tuple[Stage, ...] = Field(min_length=1)
    device: Variant = Variant.CPU
    compute_type: str | None = None
    batch_size: Annotated[int, Field(ge=1, le=256)] | None = None
    parameters: dict[Stage, dict[str, JsonValue]] = {}


class BenchmarkPlan(BaseModel):
    """What to measure. The first variant that has a stage is the reference of that stage.

    Round 0 warms up and does not count; rounds 1 to `repeats` do. `baseline` names the earlier benchmark to be held
    against; without a name it is the one that is marked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    variants: tuple[VariantChoice, ...]
    repeats: int
    language: str | None = None
    baseline: str | None = None

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Those that any variant has."""
        return tuple(stage for stage in MEASURED_STAGES if any(stage in one.stages for one in self.variants))

    def parameters(self, stage: Stage, variant: int | None) -> dict[str, JsonValue]:
        """What the stage is asked for besides, on a variant or to prepare (none)."""
        spoken: dict[str, JsonValue] = {"language": self.language} if stage is Stage.TRANSCRIBE else {}
        own = {} if variant is None else self.variants[variant].parameters.get(stage, {})
        return full_parameters(stage, spoken | own)

    def reference(self, stage: Stage) -> int:
        """The variant that the others are held against, by its place."""
        return next(place for place, one in enumerate(self.variants) if stage in one.stages)


@dataclass(frozen=True)
class Setting:
    """How a stage runs: the image's build, the compute type, and pictures or windows at a time."""

    build: Variant
    compute_type: str
    batch_size: int


@dataclass(frozen=True)
class Step:
    """One container. `variant` is the place of the variant, none for what is only prepared; `round` 0 warms up."""

    stage: Stage
    variant: int | None
    round: int

    @property
    def key(self) -> str:
        """Its name among the benchmark's files."""
        return f"prepare.{self.stage}" if self.variant is None else f"{self.round:02}.{self.variant}.{self.stage}"


def read_plan(params: Mapping[str, JsonValue], run_id: str) -> BenchmarkPlan:
    """The trigger form's values. What a stage reads is measured too, where it is one that is measured.

    Raises:
        ChoiceInvalid: a value is none that can be measured.
    """
    given = params.get("variants")
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_VARIANTS:
        raise ChoiceInvalid(f"variants must be a list of 1 to {MOST_VARIANTS}: it is {given!r}")
    try:
        variants = tuple(VariantChoice.model_validate_json(json.dumps(one)) for one in given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ChoiceInvalid(f"{where} of a variant is invalid: {first['msg']}; found {first['input']!r}") from error
    names = [one.name for one in variants]
    if len(set(names)) < len(names):
        raise ChoiceInvalid(f"each variant must have a name of its own: they are {', '.join(names)}")
    repeats = params.get("repeats")
    if not isinstance(repeats, int) or not 1 <= repeats <= MOST_REPEATS:
        raise ChoiceInvalid(f"repeats must be 1 to {MOST_REPEATS}: it is {repeats!r}")
    plan = BenchmarkPlan(
        name=str(params.get("name") or run_id),
        variants=tuple(_with_inputs(one) for one in variants),
        repeats=repeats,
        language=str(params["language"]) if params.get("language") else None,
        baseline=str(params["baseline"]) if params.get("baseline") else None,
    )
    for place, variant in enumerate(plan.variants):
        for stage in variant.stages:
            setting(variant, stage)
            _check_parameters(plan, place, stage)
    return plan


def _check_parameters(plan: BenchmarkPlan, place: int, stage: Stage) -> None:
    try:
        plan.parameters(stage, place)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ChoiceInvalid(
            f"parameters of {stage} must be its own: {plan.variants[place].name}: {'.'.join(map(str, first['loc']))}: "
            f"{first['msg']}"
        ) from error


def refuse_absent_gpu(plan: BenchmarkPlan, gpus: GpuConfiguration) -> None:
    """Refuse a variant that can never run here.

    Raises:
        ChoiceInvalid: it needs a GPU, and none is configured.
    """
    on_gpu = [variant.name for variant in plan.variants if variant.device is Variant.CUDA]
    if on_gpu and not gpus.devices:
        raise ChoiceInvalid(
            f"device 'cuda' needs a GPU for {', '.join(on_gpu)}: none is configured; set NIGHTREEL_GPU_DEVICES in .env "
            "and run `make up`, or leave these variants out"
        )


def setting(variant: VariantChoice, stage: Stage) -> Setting:
    """How this variant runs the stage. On a GPU, a batch size that nobody chose is the least: VRAM decides later.

    Raises:
        ChoiceInvalid: the stage does not have the compute type.
    """
    build = variant.device if has_gpu_build(stage) else Variant.CPU
    kind = (stage, build)
    batch_size = variant.batch_size if kind in BATCH_SIZES and variant.batch_size else default_batch_size(stage, build)
    offered = COMPUTE_TYPES.get(kind)
    if offered is None or variant.compute_type is None:
        return Setting(build, DEFAULT_COMPUTE_TYPE[kind], batch_size)
    if variant.compute_type not in offered:
        raise ChoiceInvalid(
            f"the compute type of {stage} on {build} must be one of {', '.join(offered)}: {variant.name} says "
            f"{variant.compute_type}; give the stage a variant of its own"
        )
    return Setting(build, variant.compute_type, batch_size)


def preparation(plan: BenchmarkPlan) -> list[Step]:
    """What must be there before anything is measured, in order."""
    needed = {Stage.PROBE} | ({Stage.EXTRACT} if Stage.TRANSCRIBE in plan.stages else set())
    return [Step(stage, None, 0) for stage in Stage if stage in needed]


def steps(plan: BenchmarkPlan) -> list[Step]:
    """All containers that are measured, in order. Each round begins with another variant, so that what changes with
    time (a warmer processor, other work) meets them all alike."""
    places = range(len(plan.variants))
    return [
        Step(stage, place, number)
        for number in range(plan.repeats + 1)
        for place in rotated(list(places), number)
        for stage in MEASURED_STAGES
        if stage in plan.variants[place].stages
    ]


def rotated(places: list[int], by: int) -> list[int]:
    """The same, beginning `by` later."""
    start = by % len(places)
    return places[start:] + places[:start]


def _with_inputs(variant: VariantChoice) -> VariantChoice:
    wanted = {*variant.stages}
    unknown = wanted - {*MEASURED_STAGES}
    if unknown:
        raise ChoiceInvalid(
            f"stages to measure are {', '.join(MEASURED_STAGES)}: {variant.name} says {', '.join(sorted(unknown))}"
        )
    for stage in variant.stages:
        wanted |= {*INPUTS[stage]} & {*MEASURED_STAGES}
    return variant.model_copy(update={"stages": tuple(stage for stage in MEASURED_STAGES if stage in wanted)})
