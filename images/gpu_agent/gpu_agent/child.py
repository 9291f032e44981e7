"""Child processes that may hang in the driver: asked under a deadline, killed, and left behind if they do not end."""

import os
import selectors
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

from gpu_agent.errors import ChildDied, ChildHangs, TooManyStuck

END_S = 1.0
CHUNK = 1 << 16


class Child:
    """A process of ours that is asked by lines on stdin and answers by lines on stdout."""

    def __init__(self, module: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C at a terminal is for the agent, which ends its children.
            start_new_session=True,
        )
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stdout, selectors.EVENT_READ)
        self._unread = b""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, question: str, deadline_s: float) -> str:
        """Send a line and wait for a line, which is returned without its end.

        Raises:
            ChildHangs: there was none within `deadline_s`.
            ChildDied: it ended.
        """
        try:
            os.write(self._stdin, f"{question}\n".encode())
        except BrokenPipeError as error:
            raise self._death() from error
        return self.next_line(deadline_s)

    def next_line(self, deadline_s: float) -> str:
        """Wait for a line.

        Raises:
            ChildHangs: there was none within `deadline_s`.
            ChildDied: it ended.
        """
        until_s = time.monotonic() + deadline_s
        while b"\n" not in self._unread:
            if not self._selector.select(max(0.0, until_s - time.monotonic())):
                raise ChildHangs(f"no answer within {deadline_s:.3g} s")
            chunk = os.read(self._stdout, CHUNK)
            if not chunk:
                raise self._death()
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode(errors="replace")

    def interrupt(self) -> None:
        """Kill it from another thread than the one that reads it, which then sees it die."""
        self._process.kill()

    def kill(self) -> bool:
        """Kill it; whether it ended within a second. One that waits inside the driver may not."""
        self._selector.close()
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            return False
        return True

    def has_ended(self) -> bool:
        """Whether it has ended by now."""
        return self._process.poll() is not None

    def _death(self) -> ChildDied:
        try:
            code = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            return ChildDied("it closed its pipe")
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return ChildDied(f"it ended {how}")

    @property
    def _stdin(self) -> int:
        return _descriptor(self._process.stdin)

    @property
    def _stdout(self) -> int:
        return _descriptor(self._process.stdout)


def _descriptor(stream: object) -> int:
    fileno = getattr(stream, "fileno", None)
    if fileno is None:
        raise ChildDied("it has no pipe")
    return int(fileno())


@dataclass
class Stuck:
    """Children that were killed and have not ended: they wait in the driver. Threads may share it."""

    most: int = 4
    _children: list[Child] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, module: str) -> Child:
        """Start a child.

        Raises:
            TooManyStuck: so many earlier ones have not ended that another would only join them.
        """
        stuck = self.pids()
        if len(stuck) >= self.most:
            raise TooManyStuck(stuck)
        return Child(module)

    def end(self, child: Child) -> None:
        """Kill a child; it is remembered here until it has ended."""
        if not child.kill():
            with self._lock:
                self._children.append(child)

    def pids(self) -> tuple[int, ...]:
        """The process ids of those that have not ended."""
        with self._lock:
            self._children = [child for child in self._children if not child.has_ended()]
            return tuple(child.pid for child in self._children)
