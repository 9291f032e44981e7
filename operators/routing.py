"""Which image runs a stage, what the stage reads, and whose results are as good."""

from collections.abc import Sequence
from enum import StrEnum

from stage_contract.resources import DEFAULT_COMPUTE_TYPE
from stage_contract.vocabulary import Stage, Variant


class DevicePolicy(StrEnum):
    """What a person asks for. `auto`: a GPU that is well, else the CPU. `gpu` waits long for one."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"


IMAGES: dict[Stage, str] = {
    Stage.PROBE: "media",
    Stage.EXTRACT: "media",
    Stage.TRANSCRIBE: "audio",
    Stage.ANALYZE: "vision",
    Stage.ENRICH: "nlp",
}

# What each stage reads besides the media file. A stage's result is only as current as its inputs'.
INPUTS: dict[Stage, tuple[Stage, ...]] = {
    Stage.PROBE: (),
    Stage.EXTRACT: (Stage.PROBE,),
    Stage.TRANSCRIBE: (Stage.PROBE, Stage.EXTRACT),
    Stage.ANALYZE: (Stage.PROBE,),
    Stage.ENRICH: (Stage.TRANSCRIBE,),
}


def image_for(stage: Stage, variant: Variant) -> str:
    """The image that runs `stage`, for instance `nightreel/audio:cpu`."""
    return f"nightreel/{IMAGES[stage]}:{variant}"


def has_gpu_build(stage: Stage) -> bool:
    """Whether there is a cuda build of the stage's image."""
    return (stage, Variant.CUDA) in DEFAULT_COMPUTE_TYPE


GPU_STAGES: tuple[Stage, ...] = tuple(stage for stage in Stage if has_gpu_build(stage))


def equal_variants(stage: Stage, variant: Variant, policy: DevicePolicy) -> list[Variant]:
    """Other variants whose complete results are as good as those of `variant`, so that nothing is computed twice.

    Under `auto` either is. Who insists on a device wants its results; what `gpu` left to the CPU is not done again.
    """
    if not has_gpu_build(stage) or policy is DevicePolicy.CPU:
        return []
    if variant is Variant.CPU:
        return [Variant.CUDA]
    return [Variant.CPU] if policy is DevicePolicy.AUTO else []


def with_prerequisites(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """`stages` and all that they read, in the order in which they run."""
    wanted: set[Stage] = set()
    queue = [Stage.PROBE, *stages]
    while queue:
        stage = queue.pop()
        if stage not in wanted:
            wanted.add(stage)
            queue.extend(INPUTS[stage])
    return tuple(stage for stage in Stage if stage in wanted)
