"""What a stage may use of the machine, and the compute type it uses when nobody chose one."""

import os

from stage_contract.vocabulary import Stage, Variant

THREADS_VARIABLE = "OMP_NUM_THREADS"

DEFAULT_COMPUTE_TYPE: dict[tuple[Stage, Variant], str] = {
    (Stage.PROBE, Variant.CPU): "none",
    (Stage.EXTRACT, Variant.CPU): "none",
    (Stage.TRANSCRIBE, Variant.CPU): "int8",
    (Stage.TRANSCRIBE, Variant.CUDA): "float16",
    (Stage.ANALYZE, Variant.CPU): "float32",
    (Stage.ANALYZE, Variant.CUDA): "float16",
    (Stage.ENRICH, Variant.CPU): "float32",
}

# What a stage may go on with when its device is out of memory. No entry: the output would suffer, or no smaller
# type exists. Whisper in int8 keeps its word error rate (measured for the CPU default); torch has no int8 kernels
# for CLIP and YOLO on a GPU.
SMALLER_COMPUTE_TYPE: dict[tuple[Stage, Variant], str] = {(Stage.TRANSCRIBE, Variant.CUDA): "int8_float16"}

# Pictures at a time. Whisper transcribes one window after another.
BATCH_SIZE: dict[tuple[Stage, Variant], int] = {(Stage.ANALYZE, Variant.CPU): 8, (Stage.ANALYZE, Variant.CUDA): 16}


def default_batch_size(stage: Stage, variant: Variant) -> int:
    """How many pictures or windows a stage computes at a time."""
    return BATCH_SIZE.get((stage, variant), 1)


def cpu_threads() -> int:
    """Threads to compute with: the container's CPU limit, which only the one who set it knows.

    `os.cpu_count()` would tell the host's cores; more threads than the limit cost up to ten times.
    """
    given = os.environ.get(THREADS_VARIABLE)
    return int(given) if given else len(os.sched_getaffinity(0))
