"""Xid events: whose fault each is, and the last ones of each GPU."""

import threading
from collections import Counter, deque
from dataclasses import dataclass
from datetime import datetime

from gpu_agent.reading import DeviceReading
from stage_contract.gpu_health import HealthModel, XidEvent, XidSeverity

KEPT_PER_GPU = 100

# NVIDIA's document "XID Errors". A number that is neither here nor there is one to watch.
APPLICATION_XIDS = {
    13: "an illegal instruction or address in a program",
    31: "a program read or wrote memory that is not its own",
    43: "a program stopped the GPU's work",
    45: "work was ended ahead of time",
}
DEVICE_XIDS = {
    48: "an ECC error that could not be corrected",
    64: "a bad memory row could not be remapped",
    74: "an NVLink error",
    79: "the GPU fell off the bus",
    95: "an uncontained ECC error",
    109: "work could not be switched in time",
    119: "the GPU's own processor did not answer",
    120: "the GPU's own processor failed",
    140: "an ECC error from which it did not recover",
    143: "the GPU could not be initialized",
}
WATCHED_XIDS = {
    63: "a bad memory row will be remapped at the next reset",
    92: "many corrected ECC errors",
    94: "a contained ECC error",
}


class XidMessage(HealthModel):
    """An event as the watching process tells it. `gpu_instance` is the MIG slice's that it is about, if any."""

    gpu_uuid: str
    xid: int
    gpu_instance: int | None = None


class WatchMessage(HealthModel):
    """A line of the watching process: which GPUs it watches (first line), an event, or only that it lives."""

    gpu_uuids: tuple[str, ...] | None = None
    xid: XidMessage | None = None


@dataclass(frozen=True)
class XidRecord:
    """An event, and how long ago it was, by a clock that nobody sets."""

    gpu_uuid: str
    gpu_instance: int | None
    event: XidEvent
    age_s: float

    def concerns(self, device: DeviceReading) -> bool:
        """Whether it is about this device: its GPU and, where one is named, its slice."""
        of_slice = self.gpu_instance is None or device.gpu_instance is None or device.gpu_instance == self.gpu_instance
        return self.gpu_uuid == device.gpu_uuid and of_slice


def severity_of(xid: int) -> XidSeverity:
    """Whose fault an Xid tells of."""
    if xid in DEVICE_XIDS:
        return XidSeverity.DEVICE
    return XidSeverity.APPLICATION if xid in APPLICATION_XIDS else XidSeverity.WATCH


def meaning_of(xid: int) -> str:
    """An Xid in words."""
    return {**APPLICATION_XIDS, **DEVICE_XIDS, **WATCHED_XIDS}.get(xid, "see NVIDIA's list of Xid errors")


class XidLog:
    """The last events of each GPU, and how many there were. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[str, deque[tuple[float, XidRecord]]] = {}
        self._counts: Counter[tuple[str, XidSeverity]] = Counter()

    def add(self, message: XidMessage, occurred_at: datetime, now_s: float) -> None:
        """Keep an event. `now_s` is monotonic."""
        severity = severity_of(message.xid)
        event = XidEvent(occurred_at=occurred_at, xid=message.xid, severity=severity)
        record = XidRecord(message.gpu_uuid, message.gpu_instance, event, age_s=0)
        with self._lock:
            kept = self._records.setdefault(message.gpu_uuid, deque(maxlen=KEPT_PER_GPU))
            kept.append((now_s, record))
            self._counts[message.gpu_uuid, severity] += 1

    def records(self, now_s: float) -> tuple[XidRecord, ...]:
        """All that are kept, oldest first within a GPU."""
        with self._lock:
            kept = [entry for entries in self._records.values() for entry in entries]
        return tuple(
            XidRecord(record.gpu_uuid, record.gpu_instance, record.event, age_s=now_s - seen_s)
            for seen_s, record in kept
        )

    def counts(self) -> dict[tuple[str, XidSeverity], int]:
        """How many there were since the start, by GPU and severity."""
        with self._lock:
            return dict(self._counts)
