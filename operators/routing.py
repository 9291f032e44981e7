"""Which build of an image runs a stage, and in which pool."""

from collections.abc import Sequence
from enum import StrEnum

from operators.errors import ChoiceInvalid
from stage_contract.resources import DEFAULT_COMPUTE_TYPE
from stage_contract.vocabulary import Stage, Variant


class DevicePolicy(StrEnum):
    """What a person asks for. `auto`: the GPU where there is one and the stage has a GPU build."""

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


def choose_variant(stage: Stage, policy: DevicePolicy, gpu_devices: Sequence[str]) -> Variant:
    """The build to run.

    Raises:
        ChoiceInvalid: `policy` is `gpu` and no GPU is configured.
    """
    if (stage, Variant.CUDA) not in DEFAULT_COMPUTE_TYPE or policy is DevicePolicy.CPU:
        return Variant.CPU
    if gpu_devices:
        return Variant.CUDA
    if policy is DevicePolicy.GPU:
        raise ChoiceInvalid(
            f"device policy 'gpu' needs a GPU for {stage}: none is configured; "
            "set NIGHTREEL_GPU_DEVICES in .env, or choose 'auto' or 'cpu'"
        )
    return Variant.CPU


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
