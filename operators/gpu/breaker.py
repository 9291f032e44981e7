"""The breaker of a device: after a fault no work goes there until one trial succeeds. Decides; does no I/O.

    closed ── fault ──► open ── its wait is over ──► half-open ── one trial ──► success: closed
                          ▲                                                      fault: open, the wait doubled

Opened by hand it stays open until it is closed by hand.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

NIGHTREEL = "nightreel"
LONGEST_WAIT_FACTOR = 32


class BreakerState(StrEnum):
    """Whether work may go to the device. `half_open`: one trial at a time may."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True)
class Breaker:
    """One device's breaker. `changed_by` is `nightreel`, or the user who changed it by hand.

    `wait_s` is how long the breaker was last opened for, 0 when closed. `half_opens_at` is there while it is
    open; none then means: only by hand. `trial_lease_id` is the lease of the trial under way.
    """

    device_uuid: str
    state: BreakerState = BreakerState.CLOSED
    wait_s: float = 0.0
    opened_at: datetime | None = None
    half_opens_at: datetime | None = None
    trial_lease_id: int | None = None
    reason: str = ""
    changed_at: datetime | None = None
    changed_by: str = NIGHTREEL

    @property
    def is_open(self) -> bool:
        """Whether work on the device must stop."""
        return self.state is BreakerState.OPEN

    @property
    def is_by_hand(self) -> bool:
        """Whether only a person will close it."""
        return self.is_open and self.half_opens_at is None

    def allows(self, lease_id: int) -> bool:
        """Whether work under a lease that was granted earlier may go on. Once opened, only a trial may."""
        return self.state is BreakerState.CLOSED or self.trial_lease_id == lease_id

    @property
    def takes_work(self) -> bool:
        """Whether a lease may be granted on the device now."""
        return self.state is BreakerState.CLOSED or (
            self.state is BreakerState.HALF_OPEN and self.trial_lease_id is None
        )


def pass_time(breaker: Breaker, now: datetime) -> Breaker:
    """Half-open a breaker whose wait is over."""
    if not breaker.is_open or breaker.half_opens_at is None or now < breaker.half_opens_at:
        return breaker
    return _changed(
        replace(breaker, state=BreakerState.HALF_OPEN, half_opens_at=None),
        now,
        f"the wait of {breaker.wait_s:g} s is over; the next task is a trial (it had opened for: {breaker.reason})",
    )


def fail(breaker: Breaker, now: datetime, reason: str, first_wait_s: float) -> Breaker:
    """The device failed. What is open already stays as it is."""
    if breaker.is_open:
        return breaker
    longest_s = first_wait_s * LONGEST_WAIT_FACTOR
    wait_s = min(breaker.wait_s * 2, longest_s) if breaker.state is BreakerState.HALF_OPEN else first_wait_s
    # By hand from closed the wait is 0; a breaker half-opens from a wait only.
    wait_s = max(wait_s, first_wait_s)
    opened = replace(
        breaker,
        state=BreakerState.OPEN,
        wait_s=wait_s,
        opened_at=now,
        half_opens_at=now + timedelta(seconds=wait_s),
        trial_lease_id=None,
    )
    return _changed(opened, now, reason)


def begin_trial(breaker: Breaker, now: datetime, lease_id: int) -> Breaker:
    """Let one lease try the device. Unless the breaker is half-open and free, it stays as it is."""
    if breaker.state is not BreakerState.HALF_OPEN or breaker.trial_lease_id is not None:
        return breaker
    return _changed(replace(breaker, trial_lease_id=lease_id), now, f"lease {lease_id} tries the device")


def succeed(breaker: Breaker, now: datetime, lease_id: int) -> Breaker:
    """A lease's work ended well. Closes the breaker when the lease was its trial."""
    if breaker.state is not BreakerState.HALF_OPEN or breaker.trial_lease_id != lease_id:
        return breaker
    return _changed(Breaker(breaker.device_uuid), now, f"the trial, lease {lease_id}, ended well")


def abandon_trial(breaker: Breaker, now: datetime, lease_id: int) -> Breaker:
    """A lease ended without telling anything about its device. When it was the trial, another may try."""
    if breaker.state is not BreakerState.HALF_OPEN or breaker.trial_lease_id != lease_id:
        return breaker
    return _changed(
        replace(breaker, trial_lease_id=None), now, f"the trial, lease {lease_id}, ended without telling; another may"
    )


def open_by_hand(breaker: Breaker, now: datetime, who: str, why: str) -> Breaker:
    """Take the device out of service until a person puts it back."""
    opened = replace(
        breaker,
        state=BreakerState.OPEN,
        opened_at=breaker.opened_at if breaker.is_open else now,
        half_opens_at=None,
        trial_lease_id=None,
    )
    return _changed(opened, now, why, who)


def close_by_hand(breaker: Breaker, now: datetime, who: str, why: str) -> Breaker:
    """Put the device back into service."""
    return _changed(Breaker(breaker.device_uuid), now, why, who)


def _changed(breaker: Breaker, now: datetime, reason: str, who: str = NIGHTREEL) -> Breaker:
    return replace(breaker, reason=reason, changed_at=now, changed_by=who)
