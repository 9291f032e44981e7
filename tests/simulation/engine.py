"""A second Docker engine, for the stage containers of a simulated deployment: requests for GPUs are honoured there.

It shares the machine with the first engine and nothing else: folders, socket and network namespace are its own.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from console.engine import docker_environment
from console.terminal import ConsoleError, tail
from tests.simulation.gpu_hook import HOOK_FOLDER, HOOK_FOLDER_VARIABLE

START_S = 30.0
STOP_S = 15.0
POLL_EVERY_S = 0.1
ENGINE_PROGRAMS = ("dockerd", "containerd", "containerd-shim")
# containerd refuses paths of sockets that are longer than 106 bytes; its debug socket has the longest.
LONGEST_SOCKET_BYTES = 106
LONGEST_SOCKET = "run/containerd/containerd-debug.sock"


@dataclass(frozen=True)
class SimulatedEngine:
    """An engine that lives below `folder`. `gpus` is the folder of the GPUs that its containers are handed.

    Starting it when it runs, and stopping it when it does not, does nothing. What an earlier process left
    behind, dead or alive, is taken over or cleared away.
    """

    folder: Path
    gpus: Path

    @property
    def socket(self) -> Path:
        """Where it answers."""
        return self.folder / "docker.sock"

    @property
    def log(self) -> Path:
        """What it says."""
        return self.folder / "dockerd.log"

    @property
    def _run(self) -> Path:
        return self.folder / "run"

    @property
    def _configuration(self) -> Path:
        return self.folder / "daemon.json"

    def start(self) -> None:
        """Leave with an engine that answers.

        Raises:
            ConsoleError: it cannot be started here, or does not answer in time.
        """
        if self.answers():
            return
        self._require_means()
        self.stop()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.gpus.mkdir(parents=True, exist_ok=True)
        # Its own, for the machine's /etc/docker/daemon.json is about the first engine.
        self._configuration.write_text("{}")
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                self._command(),
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline_s = time.monotonic() + START_S
        while not self.answers():
            if process.poll() is not None or time.monotonic() > deadline_s:
                said = "\n".join(tail(self.log, 5))
                self.stop()
                raise ConsoleError(f"the simulated host's engine must answer within {START_S:.0f} s: it says\n{said}")
            time.sleep(POLL_EVERY_S)

    def stop(self) -> None:
        """Remove its containers, end it and all that it started, and free its mounts. Its images stay."""
        if self.answers():
            containers = self.docker("ps", "--all", "--quiet").split()
            if containers:
                self.docker("rm", "--force", "--volumes", *containers)
        # The daemon ends its containerd. Where it died before, what it left is ended: first what runs in containers,
        # which would outlive the shims above it.
        self._end(("dockerd",))
        _signal(_descendants(_engine_processes(self.folder, ("containerd-shim",))), signal.SIGKILL)
        self._end(ENGINE_PROGRAMS)
        _signal(_engine_processes(self.folder), signal.SIGKILL)
        for mount in _mounts_below(self.folder):
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
        self.socket.unlink(missing_ok=True)
        (self.folder / "docker.pid").unlink(missing_ok=True)
        # What is left of the run would be taken for something that runs.
        shutil.rmtree(self._run, ignore_errors=True)

    def kill(self) -> None:
        """SIGKILL it and all that runs in its containers, as a crash of the host's engine would. `start` clears up."""
        programs = _engine_processes(self.folder)
        _signal([*programs, *_descendants(programs)], signal.SIGKILL)

    def answers(self) -> bool:
        """Whether it answers the Docker client now."""
        return self.socket.exists() and self._docker("version").returncode == 0

    def docker(self, *arguments: str | Path) -> str:
        """Run a `docker` command on it and return its stdout, stripped.

        Raises:
            ConsoleError: it failed; the message holds what it said.
        """
        told = self._docker(*arguments)
        if told.returncode != 0:
            shown = " ".join(str(part) for part in arguments)
            raise ConsoleError(f"docker {shown} failed on the simulated host: {told.stderr.strip()}")
        return told.stdout.strip()

    def image_id(self, image: str) -> str | None:
        """The id of an image that it holds; none when it holds no such image."""
        told = self._docker("image", "inspect", "--format", "{{.Id}}", image)
        return told.stdout.strip() if told.returncode == 0 else None

    def environment(self) -> dict[str, str]:
        """The environment in which `docker` talks to it."""
        return {**docker_environment(), "DOCKER_HOST": f"unix://{self.socket}"}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _end(self, programs: tuple[str, ...]) -> None:
        _signal(_engine_processes(self.folder, programs), signal.SIGTERM)
        deadline_s = time.monotonic() + STOP_S
        while _engine_processes(self.folder, programs) and time.monotonic() < deadline_s:
            time.sleep(POLL_EVERY_S)

    def _docker(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = ["docker", *(str(part) for part in arguments)]
        return subprocess.run(
            command, env=self.environment(), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )

    def _require_means(self) -> None:
        if os.geteuid() != 0:
            raise ConsoleError("a simulated GPU host needs an engine of its own, which only root may start: use sudo")
        missing = [program for program in ("dockerd", "docker", "unshare") if shutil.which(program) is None]
        if missing:
            raise ConsoleError(
                f"a simulated GPU host needs {', '.join(missing)} on PATH: install docker.io, util-linux"
            )
        longest = len(os.fsencode(self.folder / LONGEST_SOCKET))
        if longest > LONGEST_SOCKET_BYTES:
            raise ConsoleError(
                f"paths of sockets have at most {LONGEST_SOCKET_BYTES} bytes: those below {self.folder} would have "
                f"{longest}; move the repository to a shorter path"
            )

    def _command(self) -> list[str]:
        return [
            # Outside of a network namespace of its own, `--bridge none` would take docker0 from the first engine.
            *("unshare", "--net", "dockerd", "--bridge", "none", "--iptables=false", "--ip6tables=false"),
            *("--ip-forward=false", "--userland-proxy=false", "--log-level", "warn"),
            *("--data-root", str(self.folder / "data"), "--exec-root", str(self._run)),
            *("--host", f"unix://{self.socket}", "--pidfile", str(self.folder / "docker.pid"), "--group", "0"),
            # Where the system runs a containerd, both engines use it, and must not see each other's containers.
            *("--containerd-namespace", _namespace(self.folder)),
            *("--containerd-plugins-namespace", f"{_namespace(self.folder)}-plugins"),
            *("--config-file", str(self._configuration)),
        ]

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
        return kept | {
            "PATH": f"{HOOK_FOLDER}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            HOOK_FOLDER_VARIABLE: str(self.gpus),
        }


def _namespace(folder: Path) -> str:
    return f"nightreel-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"


def _engine_processes(folder: Path, programs: tuple[str, ...] = ENGINE_PROGRAMS) -> list[int]:
    """Processes of an engine below `folder`: the program is one of an engine's, and an argument names the folder."""
    below = os.fsencode(folder) + b"/"
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        program = Path(os.fsdecode(command[0])).name
        if program.startswith(programs) and any(below in argument for argument in command[1:]):
            found.append(int(process.name))
    return found


def _descendants(processes: list[int]) -> list[int]:
    """All children of these processes and theirs: what still runs in containers."""
    children: dict[int, list[int]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(process.name))
    found, waiting = [], list(processes)
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _signal(processes: list[int], number: signal.Signals) -> None:
    for process in processes:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            continue


def _mounts_below(folder: Path) -> list[str]:
    """Mount points below `folder`, the deepest first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted((point for point in points if point.startswith(f"{folder}/")), key=len, reverse=True)
