"""`phases.jsonl`: how long each part of a stage took, written even when the part fails."""

import contextlib
import logging
import resource
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from stage_contract.errors import Terminated
from stage_contract.vocabulary import Phase, PhaseOutcome

PHASES_FILE = "phases.jsonl"

log = logging.getLogger(__name__)


class PhaseRecord(BaseModel):
    """One finished phase.

    `asset_id` is null for what the whole shard shares. `started_at` is UTC; `duration_s` is the time
    worked, `span_s` the time from the first start to the last end (longer when the phase came in
    turns with others), both from the monotonic clock. Phases may overlap, so that their durations add up to more than
    the time that passed. Peaks are MiB: resident memory of the process
    during the phase (or of its largest child so far, when that is more), and VRAM where there is a device.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: Phase
    asset_id: str | None = None
    started_at: AwareDatetime
    duration_s: float
    span_s: float
    outcome: PhaseOutcome
    counters: dict[str, float] = {}
    peak_rss_mib: float | None = None
    peak_vram_mib: float | None = None


class DeviceMeter:
    """What the recorder asks of a device. This one is the CPU's; a GPU stage passes its own."""

    def drain(self) -> None:
        """Wait until the device has done what it was given."""

    def reset_peak(self) -> None:
        """Forget the peak VRAM seen so far."""

    def peak_vram_mib(self) -> float | None:
        """Peak VRAM since the last reset, MiB; none where there is no VRAM."""
        return None


class PhaseRecorder:
    """Times phases and appends each to `path` as it ends. Phases do not nest."""

    def __init__(self, path: Path, meter: DeviceMeter | None = None) -> None:
        self._path = path
        self.meter = meter or DeviceMeter()

    @contextlib.contextmanager
    def measure(self, phase: Phase, asset_id: str | None = None) -> Iterator[dict[str, float]]:
        """Time the block. Yields the counters, for the block to fill in (frames, audio_s, tokens)."""
        counters: dict[str, float] = {}
        _reset_peak_rss()
        self.meter.reset_peak()
        started_at, started_s = datetime.now(UTC), time.monotonic()
        outcome = PhaseOutcome.FAILED
        try:
            yield counters
            self.meter.drain()
            outcome = PhaseOutcome.DONE
        except Terminated:
            outcome = PhaseOutcome.INTERRUPTED
            raise
        finally:
            duration_s = time.monotonic() - started_s
            vram = None
            with contextlib.suppress(Exception):  # a broken device must not hide the phase's own error
                vram = self.meter.peak_vram_mib()
            self.append(
                PhaseRecord(
                    phase=phase,
                    asset_id=asset_id,
                    started_at=started_at,
                    duration_s=duration_s,
                    span_s=duration_s,
                    outcome=outcome,
                    counters=counters,
                    peak_rss_mib=_peak_rss_mib(),
                    peak_vram_mib=vram,
                )
            )

    def append(self, record: PhaseRecord) -> None:
        """Add one line. Lines are short, so that a concurrent reader never sees half of one."""
        with self._path.open("a") as file:
            file.write(record.model_dump_json() + "\n")

    def accumulate(
        self, phase: Phase, asset_id: str | None = None, meter: DeviceMeter | None = None
    ) -> "PhaseAccumulator":
        """A phase that comes in many short turns (decode a batch, infer a batch): one line in the end.

        `meter` takes the place of the recorder's: a thread that prepares work for a device must not wait for it.
        """
        return PhaseAccumulator(self, phase, asset_id, meter)


class PhaseAccumulator:
    """Sums the turns of one phase. Use `turn()` around each, `close()` (or `with`) writes the line.

    `duration_s` is the sum of the turns, `span_s` runs from the first to the last. Turns of different phases may go on
    at the same time, in threads of their own; those of one phase come one after another.
    """

    def __init__(
        self, recorder: PhaseRecorder, phase: Phase, asset_id: str | None, meter: DeviceMeter | None = None
    ) -> None:
        self._recorder = recorder
        self._meter = meter
        self._phase = phase
        self._asset_id = asset_id
        self._started_at: datetime | None = None
        self._started_s = 0.0
        self._ended_s = 0.0
        self._duration_s = 0.0
        self._outcome = PhaseOutcome.DONE
        self._peak_rss_mib = 0.0
        self._peak_vram_mib: float | None = None
        self.counters: dict[str, float] = {}

    @contextlib.contextmanager
    def turn(self) -> Iterator[dict[str, float]]:
        """Time one turn; yields the counters of the whole phase, to add to."""
        meter = self._meter or self._recorder.meter
        meter.reset_peak()
        started_s = time.monotonic()
        if self._started_at is None:
            self._started_at, self._started_s = datetime.now(UTC), started_s
        try:
            yield self.counters
            meter.drain()
        except BaseException as error:
            self._outcome = PhaseOutcome.INTERRUPTED if isinstance(error, Terminated) else PhaseOutcome.FAILED
            raise
        finally:
            self._ended_s = time.monotonic()
            self._duration_s += self._ended_s - started_s
            self._peak_rss_mib = max(self._peak_rss_mib, _peak_rss_mib())
            with contextlib.suppress(Exception):  # as in measure()
                peak = meter.peak_vram_mib()
                if peak is not None:
                    self._peak_vram_mib = max(peak, self._peak_vram_mib or 0.0)

    def __enter__(self) -> "PhaseAccumulator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write the line, unless there was no turn."""
        if self._started_at is None:
            return
        self._recorder.append(
            PhaseRecord(
                phase=self._phase,
                asset_id=self._asset_id,
                started_at=self._started_at,
                duration_s=self._duration_s,
                span_s=self._ended_s - self._started_s,
                outcome=self._outcome,
                counters=self.counters,
                peak_rss_mib=self._peak_rss_mib,
                peak_vram_mib=self._peak_vram_mib,
            )
        )


def read_phases(path: Path) -> list[PhaseRecord]:
    """All complete lines of a `phases.jsonl`; none when there is no file.

    A torn line (a process killed, a disk full) is left out: it must not cost the others.
    """
    if not path.exists():
        return []
    records = []
    for line in path.read_text().split("\n")[:-1]:
        try:
            records.append(PhaseRecord.model_validate_json(line))
        except ValidationError:
            log.warning("a line of %s is torn: %r", path, line[:100])
    return records


def _reset_peak_rss() -> None:
    # "5" resets VmHWM, see proc(5). Refused where /proc is read-only: then the peak is the process's.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_rss_mib() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(OSError, StopIteration):
        status = Path("/proc/self/status").read_text().splitlines()
        own = int(next(line for line in status if line.startswith("VmHWM")).split()[1])
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(own, children) / 1024
