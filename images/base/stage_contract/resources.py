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


def cpu_threads() -> int:
    """Threads to compute with: the container's CPU limit, which only the one who set it knows.

    `os.cpu_count()` would tell the host's cores; more threads than the limit cost up to ten times.
    """
    given = os.environ.get(THREADS_VARIABLE)
    return int(given) if given else len(os.sched_getaffinity(0))
