"""Runs the audio and vision stages outside of Docker on two devices, side by side.

    python -m tests.bench.compare_devices --models build/compare/models --environments build/compare \\
        --media clip.mp4 speech.flac --devices cpu cuda

docs/benchmarks.md says how the two folders are made. A setting is `cpu` or `cuda`, with a compute type where it is not
the default: `cpu:float32`. The first of two is what the second is held against.
"""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from stage_contract.cuda_device import read_cuda_device
from stage_contract.errors import DeviceFailure
from stage_contract.resources import DEFAULT_COMPUTE_TYPE, default_batch_size
from stage_contract.vocabulary import Stage, Variant
from tests.bench.comparison import compare
from tests.bench.stage_process import ROOMS, Setting, StageProcesses

MARKS = "<!-- begin: compare_devices -->", "<!-- end: compare_devices -->"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison and print it as Markdown. Returns the exit code."""
    arguments = _parse(argv)
    try:
        chosen = {
            stage: [read_setting(stage, text, arguments.device_uuid) for text in texts]
            for stage, texts in _wanted(arguments).items()
        }
    except (ValueError, DeviceFailure) as error:
        print(error, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="compare-devices-") as scratch:
        processes = StageProcesses(arguments.environments, arguments.models, Path(scratch), arguments.threads)
        compared = compare_all(processes, arguments.media, chosen)
    files = ", ".join(f"`{file.name}`" for file in arguments.media)
    now = datetime.now(UTC)
    table = "\n".join([f"{now:%Y-%m-%d}, {describe_machine(arguments.threads)}. Media: {files}.", *compared])
    print(table)
    if arguments.write:
        write_between_marks(arguments.write, table)
    return 0


def compare_all(
    processes: StageProcesses, files: Sequence[Path], chosen: Mapping[Stage, Sequence[Setting]]
) -> list[str]:
    """Run each stage on both of its settings. Returns lines of Markdown; a stage without media gives none."""
    print("prepare", *files, file=sys.stderr)
    media = processes.prepare(files)
    lines: list[str] = []
    for stage, settings in chosen.items():
        measured = []
        for number, setting in enumerate(settings):
            print(f"run {stage} on {setting.name}", file=sys.stderr)
            measured.append(processes.run(stage, setting, media, number))
        first, second = measured
        if first and second:
            lines += ["", *compare(first, second)]
    return lines


def read_setting(stage: Stage, text: str, device_uuid: str | None = None) -> Setting:
    """A setting from `cpu` or `cuda:float16`. A GPU is CUDA's first, unless its UUID is given.

    Raises:
        ValueError: there is no such variant.
        DeviceFailure: a GPU is wanted, and there is none.
    """
    name, _, compute_type = text.partition(":")
    variant = Variant(name)
    device = "cpu"
    if variant is Variant.CUDA:
        device = device_uuid or f"GPU-{read_cuda_device().uuid}"
    compute_type = compute_type or DEFAULT_COMPUTE_TYPE[stage, variant]
    return Setting(variant, compute_type, default_batch_size(stage, variant), device)


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


def write_between_marks(document: Path, table: str, marks: tuple[str, str] = MARKS) -> None:
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


def _wanted(arguments: argparse.Namespace) -> dict[Stage, list[str]]:
    named = {"audio": arguments.audio, "vision": arguments.vision}
    return {stage: named[room] or arguments.devices for stage, room in ROOMS.items()}


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder with audio/ and vision/ from the images")
    parser.add_argument("--environments", type=Path, required=True, help="folder with environments audio/ and vision/")
    parser.add_argument("--media", type=Path, nargs="+", required=True, help="files; the text beside one is known")
    parser.add_argument("--devices", nargs=2, default=["cpu", "cuda"], help="two settings, for both stages")
    parser.add_argument("--audio", nargs=2, help="two settings for audio.transcribe instead")
    parser.add_argument("--vision", nargs=2, help="two settings for vision.analyze instead")
    parser.add_argument("--device-uuid", help="GPU or MIG slice that CUDA sees first, if it is a slice")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="CPU threads of a stage")
    parser.add_argument("--write", type=Path, help="Markdown file to write the table into, between its marks")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
