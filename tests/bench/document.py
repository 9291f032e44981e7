"""Where measurements are written, and the machine they were taken on."""

import os
import platform
from pathlib import Path

from stage_contract.cuda_device import read_cuda_device
from stage_contract.errors import DeviceFailure


def describe_machine(threads: int) -> str:
    """The processor, the threads used, and the GPU where there is one."""
    try:
        gpu = read_cuda_device()
        version, capability = ".".join(map(str, gpu.cuda_version)), "".join(map(str, gpu.capability))
        told = f"{gpu.name} (sm_{capability}), driver for CUDA {version}"
    except DeviceFailure:
        told = "no NVIDIA GPU"
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0))
    return f"{next(iter(models), platform.machine())}, {cores} cores, {threads} threads a stage; {told}"


def write_between_marks(document: Path, table: str, marks: tuple[str, str]) -> None:
    """Replace what stands between two marks of `document`.

    Raises:
        ValueError: it does not have both marks, once each and in order.
    """
    text = document.read_text(encoding="utf-8")
    before, begin, rest = text.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise ValueError(f"{document} must have the lines {marks[0]} and {marks[1]}: the table goes between them")
    document.write_text(f"{before}{begin}\n\n{table}\n\n{end}{after}", encoding="utf-8")
