"""Keeps a child process watching for Xid events, whatever happens to it."""

import logging
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime

from gpu_agent.child import Child, Stuck
from gpu_agent.errors import AgentError, ChildDied
from gpu_agent.xids import WatchMessage, XidLog

MODULE = "gpu_agent.watch_xids"
# It speaks twice a second; at its start NVML is started too, which takes its time on large hosts.
FIRST_WORD_S = 15.0
SILENCE_S = 5.0
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
STOP_S = 5.0
STOP_CHECK_S = 0.2

log = logging.getLogger("gpu_agent")


class XidWatch:
    """A thread that reads the watching child's events into a log, and starts it anew when it ends or hangs."""

    def __init__(self, xids: XidLog, stuck: Stuck) -> None:
        self._xids = xids
        self._stuck = stuck
        self._wanted: frozenset[str] = frozenset()
        self._watched: frozenset[str] = frozenset()
        self._child: Child | None = None
        self._anew = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="xid-watch", daemon=True)

    @property
    def watched(self) -> frozenset[str]:
        """UUIDs of the GPUs whose events are being watched now."""
        return frozenset() if self._anew.is_set() else self._watched

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and its child."""
        self._ending.set()
        child = self._child
        if child is not None:
            child.interrupt()
        self._thread.join(STOP_S)

    def follow(self, gpu_uuids: Iterable[str]) -> None:
        """Tell which GPUs can be read now: with a new one, or one that came back, watching starts anew."""
        before, self._wanted = self._wanted, frozenset(gpu_uuids)
        if not self._wanted <= before:
            self._anew.set()

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._ending.is_set():
            started_s = time.monotonic()
            self._watch_once()
            lasted = time.monotonic() - started_s > LONGEST_PAUSE_S
            pause_s = FIRST_PAUSE_S if lasted else min(2 * pause_s, LONGEST_PAUSE_S)
            self._await_restart(pause_s)

    def _watch_once(self) -> None:
        child: Child | None = None
        try:
            # Whatever appeared until now is there when the child looks for GPUs.
            self._anew.clear()
            child = self._child = self._stuck.start(MODULE)
            self._watched = frozenset(self._next(child, FIRST_WORD_S).gpu_uuids or ())
            while not (self._ending.is_set() or self._anew.is_set()):
                self._keep(self._next(child, SILENCE_S))
        except AgentError as error:
            if not self._ending.is_set():
                log.warning("Xid events are not watched for now; the watching process: %s", error)
        finally:
            self._watched = frozenset()
            if child is not None:
                self._stuck.end(child)

    def _keep(self, message: WatchMessage) -> None:
        if message.xid is not None:
            log.warning("Xid %d on %s", message.xid.xid, message.xid.gpu_uuid)
            self._xids.add(message.xid, datetime.now(UTC), time.monotonic())

    def _next(self, child: Child, deadline_s: float) -> WatchMessage:
        line = child.next_line(deadline_s)
        try:
            return WatchMessage.model_validate_json(line)
        except ValueError as error:
            raise ChildDied(f"it must write messages: {line[:80]!r}") from error

    def _await_restart(self, pause_s: float) -> None:
        """Wait, though no longer than until a GPU appears."""
        until_s = time.monotonic() + pause_s
        while time.monotonic() < until_s and not (self._ending.is_set() or self._anew.wait(STOP_CHECK_S)):
            pass
