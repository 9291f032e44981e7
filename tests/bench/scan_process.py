"""One scan in a process of its own, so that its memory can be told: `python -m tests.bench.scan_process URL FOLDER`.

Prints what it took, as JSON.
"""

import sys
import time
from pathlib import Path

from pydantic import BaseModel

from operators.database import open_engine
from operators.scan.scan import ScanRules, scan_archive

KIB_PER_MIB = 1024


class Taken(BaseModel):
    """What a scan found, and what it took: the process's memory before the scan, and the most while it went on."""

    duration_s: float
    idle_mib: float
    peak_mib: float
    found: int
    hashed: int
    bytes_hashed: int
    unchanged: int
    known_content: int
    vanished: int


def main() -> None:
    """Scan the folder as the root `archive`."""
    engine = open_engine(sys.argv[1])
    # The peak begins anew: importing took more than a small scan does (proc(5), clear_refs).
    Path("/proc/self/clear_refs").write_text("5")
    idle_mib = _memory_mib("VmRSS")
    begun_s = time.monotonic()
    report = scan_archive(engine, {"archive": Path(sys.argv[2])}, ["archive"], ScanRules())
    taken = Taken(
        duration_s=time.monotonic() - begun_s,
        idle_mib=idle_mib,
        peak_mib=_memory_mib("VmHWM"),
        found=report.files_found,
        hashed=report.files_hashed,
        bytes_hashed=report.bytes_hashed,
        unchanged=report.files_unchanged,
        known_content=report.files_known_content,
        vanished=report.files_vanished,
    )
    print(taken.model_dump_json())


def _memory_mib(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (value,) = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(value) / KIB_PER_MIB


if __name__ == "__main__":
    main()
