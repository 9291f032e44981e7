"""What the hook does for one container: called by the container runtime, as root, before the container's program runs.

A program of its own, for whatever Python the system has: it imports the standard library alone. The container's
state comes as JSON on stdin, see https://github.com/opencontainers/runtime-spec/blob/main/runtime.md#state.
"""

import fcntl
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LIBRARY = "libnvidia-ml.so.1"
# Where NVIDIA's own hook puts it on Debian: the loader looks there without being told.
LIBRARY_IN_CONTAINER = f"/usr/lib/{platform.machine()}-linux-gnu/{LIBRARY}"
# Where the library looks for its state when it finds none beside itself.
STATE_IN_CONTAINER = "/run/nvml-stub"
WORK_IN_CONTAINER = "/work"


def main() -> int:
    """Note the request, then refuse it or bring the library in."""
    gpus = Path(os.environ["NIGHTREEL_SIMULATED_GPUS"])
    state = json.load(sys.stdin)
    bundle = json.loads((Path(state["bundle"]) / "config.json").read_text())
    broken = gpus / "driver_is_broken"
    refusal = broken.read_text() if broken.exists() else None
    _note(gpus, state, bundle, refusal)
    if refusal is not None:
        print(refusal, file=sys.stderr)
        return 1
    root = Path(bundle["root"]["path"])
    library = gpus / "nvml" / LIBRARY
    if library.exists():
        _bind(state["pid"], library, root, LIBRARY_IN_CONTAINER)
        # The folder, not the file in it: a file that is replaced would stay the old one in the container.
        _bind(state["pid"], gpus / "nvml", root, STATE_IN_CONTAINER)
    return 0


def _note(gpus: Path, state: dict[str, Any], bundle: dict[str, Any], refusal: str | None) -> None:
    variables = dict(entry.partition("=")[::2] for entry in bundle["process"]["env"])
    entry = {
        "granted_at": time.time(),
        "container_id": state["id"],
        "pid": state["pid"],
        "devices": [uuid for uuid in variables.get("NVIDIA_VISIBLE_DEVICES", "").split(",") if uuid],
        "work": next((m["source"] for m in bundle["mounts"] if m["destination"] == WORK_IN_CONTAINER), None),
        "refusal": refusal,
    }
    with (gpus / "grants.jsonl").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(entry) + "\n")


def _bind(pid: int, source: Path, root: Path, target: str) -> None:
    # Below the container's root as the host sees it: the container's own root is not in its place yet.
    place = root / target.lstrip("/")
    if source.is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    inside = ["nsenter", "--target", str(pid), "--mount"]
    subprocess.run([*inside, "mount", "--bind", str(source), str(place)], check=True)
    subprocess.run([*inside, "mount", "-o", "remount,bind,ro", str(place)], check=True)


if __name__ == "__main__":
    sys.exit(main())
