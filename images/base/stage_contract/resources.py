"""What a stage may use of the machine, and the compute type it uses when nobody chose one."""

import os

from stage_contract.vocabulary import Stage, Variant

THREADS_VARIABLE = "OMP_NUM_THREADS"

DEFAULT_COMPUTE_TYPE: dict[tuple[Stage, Variant], str] = {
    (Stage.PROBE, Variant.CPU): "none",
    (Stage.EXTRACT, Variant.CPU): "none",
    (Stage.TRANSCRIBE, Variant.CPU): "int8",
    (Stage.TRANSCRIBE, Variant.CUDA): "float16",
    (Stage.ANALYZE, Variant.CPU): "int8_bfloat16",
    (Stage.ANALYZE, Variant.CUDA): "float16",
    (Stage.ENRICH, Variant.CPU): "float32",
}

# What a stage may go on with when its device is out of memory. No entry: the output would suffer, or no smaller
# type exists. Whisper in int8 keeps its word error rate (measured for the CPU default); torch has no int8 kernels
# for CLIP and YOLO on a GPU.
SMALLER_COMPUTE_TYPE: dict[tuple[Stage, Variant], str] = {(Stage.TRANSCRIBE, Variant.CUDA): "int8_float16"}

BATCH_SIZES: dict[tuple[Stage, Variant], tuple[int, ...]] = {
    (Stage.TRANSCRIBE, Variant.CPU): (12,),
    (Stage.TRANSCRIBE, Variant.CUDA): (16, 8, 4, 1),
    (Stage.ANALYZE, Variant.CPU): (4,),
    (Stage.ANALYZE, Variant.CUDA): (64, 32, 16, 8),
}
"""Windows or pictures at a time, largest first. On a GPU the VRAM decides among them."""


def default_batch_size(stage: Stage, variant: Variant) -> int:
    """How many windows or pictures a stage computes at a time where nobody knows how much memory there is."""
    return min(BATCH_SIZES.get((stage, variant), (1,)))


def cpu_threads() -> int:
    """Threads to compute with: the container's CPU limit, which only the one who set it knows.

    `os.cpu_count()` would tell the host's cores; more threads than the limit cost up to ten times.
    """
    given = os.environ.get(THREADS_VARIABLE)
    return int(given) if given else len(os.sched_getaffinity(0))
