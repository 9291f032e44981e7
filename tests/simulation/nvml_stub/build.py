"""Compiles the stand-in: `python -m tests.simulation.nvml_stub.build FOLDER` makes `FOLDER/libnvidia-ml.so.1`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from console import apt

LIBRARY = "libnvidia-ml.so.1"
SOURCES = Path(__file__).resolve().parent
OPTIONS = ("-std=c11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror")
C_HEADER = Path("/usr/include/stdio.h")
COMPILER_PACKAGES = ("gcc", "libc6-dev")


def build_stub(folder: Path) -> Path:
    """Leave the library in a folder and return its path; one that is newer than its sources is left as it is.

    Raises:
        ConsoleError: there is no C compiler, and none can be installed.
        subprocess.CalledProcessError: the sources do not compile; the compiler's words are on stderr.
    """
    library = folder.resolve() / LIBRARY
    sources = sorted(SOURCES.glob("*.c"))
    newest_s = max(source.stat().st_mtime for source in SOURCES.glob("*.[ch]"))
    if library.exists() and library.stat().st_mtime > newest_s:
        return library
    _ensure_compiler()
    folder.mkdir(parents=True, exist_ok=True)
    new = library.with_name(f".{LIBRARY}.{os.getpid()}.new")
    libraries = ("-Wl,-soname," + LIBRARY, "-ldl", "-lpthread")
    subprocess.run(["gcc", *OPTIONS, *sources, "-o", new, *libraries], check=True)
    # Renamed into place, for programs may have the old one open; any user may load it.
    new.chmod(0o755)
    new.replace(library)
    return library


def _ensure_compiler() -> None:
    if (shutil.which("gcc") is None or not C_HEADER.exists()) and apt.can_install():
        apt.refresh()
        apt.install(*COMPILER_PACKAGES)


if __name__ == "__main__":
    print(build_stub(Path(sys.argv[1])))
