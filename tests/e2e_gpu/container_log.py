"""When each container of an engine started and ended, as the engine tells it."""

import json
import subprocess
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import IO, Any, Self

from tests.simulation.engine import SimulatedEngine

STOP_S = 5.0


@dataclass(frozen=True)
class ContainerLife:
    """`ended_at` is none while it runs."""

    started_at: datetime
    ended_at: datetime | None = None


class ContainerLog:
    """Follows the engine's events until the block ends."""

    def __init__(self, engine: SimulatedEngine) -> None:
        self.lives: dict[str, ContainerLife] = {}
        self._engine = engine
        self._events: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        kinds = [part for kind in ("type=container", "event=start", "event=die") for part in ("--filter", kind)]
        self._events = subprocess.Popen(
            ["docker", "events", "--format", "{{json .}}", *kinds],
            env=self._engine.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._events.stdout
        self._reader = threading.Thread(target=self._read, args=(self._events.stdout,), daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._events
        assert self._reader
        self._events.terminate()
        self._events.wait(STOP_S)
        self._reader.join(STOP_S)

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            self._note(json.loads(line))

    def _note(self, event: dict[str, Any]) -> None:
        container, instant = event["Actor"]["ID"], datetime.fromtimestamp(event["timeNano"] / 1e9, UTC)
        if event["Action"] == "start":
            self.lives[container] = ContainerLife(instant)
        elif container in self.lives:
            self.lives[container] = replace(self.lives[container], ended_at=instant)
