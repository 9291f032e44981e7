"""The child's end of the pipe to the agent: one line a message, JSON, on what was stdout."""

import os
from typing import TextIO

from stage_contract.gpu_health import HealthModel


def take_stdout() -> TextIO:
    """The pipe to the agent. What libraries print goes to stderr from here on, the agent's log."""
    pipe = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return pipe


def say(pipe: TextIO, message: HealthModel) -> None:
    """Write one message."""
    pipe.write(message.model_dump_json() + "\n")
    pipe.flush()
