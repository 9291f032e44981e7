"""Runs ffprobe and ffmpeg on untrusted files: bounded in processor time, waiting time and output.

Processor time is the file's doing, waiting is the storage's. A file that burns its processor time is
rejected, since it would do so again; a run that only waits too long fails as transient and is retried.
"""

import os
import re
import resource
import selectors
import signal
import subprocess
import time
from dataclasses import dataclass

from media_stage.media_file import MediaFile
from stage_contract.errors import ItemRejected, TransientFailure
from stage_contract.vocabulary import Reason

STDERR_LIMIT_BYTES = 16_384
MESSAGE_LIMIT_CHARACTERS = 200
CPU_TICKS_S = 0.5
"""The kernel counts processor time in ticks, and sends the limit's signal up to this much early."""

STORAGE_ERRORS = ("Input/output error", "Stale file handle")
FULL_DISK = "No space left on device"


@dataclass(frozen=True)
class Limits:
    """What one run may take. Of standard output the last `stdout_bytes` are kept."""

    cpu_s: int
    wall_s: float
    stdout_bytes: int


@dataclass(frozen=True)
class ToolRun:
    """How a run ended. `overflowed`: standard output was longer than its limit, `stdout` is its end."""

    exit_code: int
    stdout: bytes
    overflowed: bool
    stderr: str

    @property
    def complaint(self) -> str:
        """The last line that the tool complained with, made fit for a person; may be empty."""
        lines = [line for line in self.stderr.splitlines() if line.strip() and "Last message repeated" not in line]
        last = re.sub(r"\[[^\]]* @ 0x[0-9a-f]+\] *|file:/proc/self/fd/\d+: *", "", lines[-1] if lines else "")
        return "".join(c if c.isprintable() else " " for c in last).strip()[:MESSAGE_LIMIT_CHARACTERS]


class _Tail:
    """Keeps the end of a stream."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.kept = bytearray()
        self.overflowed = False

    def add(self, chunk: bytes) -> None:
        self.kept += chunk
        if len(self.kept) > 2 * self._limit:
            self.trim()

    def trim(self) -> bytes:
        if len(self.kept) > self._limit:
            self.overflowed = True
            del self.kept[: -self._limit]
        return bytes(self.kept)


def run_tool(command: list[str], media: MediaFile, limits: Limits) -> ToolRun:
    """Run `command`, which reads `media.url`, to its end or to a limit.

    Raises:
        ItemRejected: it used up its processor time, or the container's memory.
        TransientFailure: it waited too long, or the disk is full.
        OSError: the storage fails to give the file.
    """
    stdout, stderr = _Tail(limits.stdout_bytes), _Tail(STDERR_LIMIT_BYTES)
    cpu_before_s = _children_cpu_s()
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(media.descriptor,),
    ) as process:
        try:
            resource.prlimit(process.pid, resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 5))
            _collect(process, stdout, stderr, limits.wall_s)
            exit_code = process.wait()
        except subprocess.TimeoutExpired as error:
            raise TransientFailure(
                f"{command[0]} must be done within {limits.wall_s:.0f} s: it waited longer for the file; "
                "see whether the storage is slow or the machine overloaded"
            ) from error
        finally:
            process.kill()
    run = ToolRun(exit_code, stdout.trim(), stdout.overflowed, stderr.trim().decode(errors="replace"))
    _check(run, command[0], media, limits, _children_cpu_s() - cpu_before_s)
    return run


def _collect(process: subprocess.Popen[bytes], stdout: _Tail, stderr: _Tail, wall_s: float) -> None:
    deadline_s = time.monotonic() + wall_s
    with selectors.DefaultSelector() as selector:
        for stream, tail in ((process.stdout, stdout), (process.stderr, stderr)):
            if stream:
                selector.register(stream, selectors.EVENT_READ, tail)
        while selector.get_map():
            left_s = deadline_s - time.monotonic()
            ready = selector.select(left_s) if left_s > 0 else []
            if not ready:
                raise subprocess.TimeoutExpired(process.args, wall_s)
            for key, _ in ready:
                chunk = os.read(key.fd, 65_536)
                key.data.add(chunk)
                if not chunk:
                    selector.unregister(key.fileobj)


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _check(run: ToolRun, program: str, media: MediaFile, limits: Limits, cpu_s: float) -> None:
    # ffmpeg ends in good order at its processor limit, so the exit code alone does not tell.
    if run.exit_code == -signal.SIGXCPU or cpu_s >= limits.cpu_s - CPU_TICKS_S:
        raise ItemRejected(
            Reason.CORRUPT,
            f"a file must be readable with {limits.cpu_s} s of processor time: {program} needed more; "
            "the file is damaged or made to waste time",
        )
    if run.exit_code == -signal.SIGKILL:
        raise ItemRejected(
            Reason.TOO_LARGE,
            f"a file must be readable within the container's memory: {program} was stopped for taking more; "
            "give the stage more memory and remove this result to try again",
        )
    if FULL_DISK in run.stderr:
        raise TransientFailure(f"{program} must have room to write: the disk for results is full; make room")
    if any(error in run.stderr for error in STORAGE_ERRORS):
        media.check_readable()
