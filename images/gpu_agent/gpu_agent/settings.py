"""The agent's settings, from environment variables."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gpu_agent.errors import SettingInvalid

# NVIDIA's own exporter has 9400.
PORT = 9410


@dataclass(frozen=True)
class AgentSettings:
    """How often to read, how long one read may take, how long an Xid counts, and how long 999 is borne."""

    read_every_s: float = 1.0
    read_deadline_s: float = 3.0
    xid_memory_s: float = 60.0
    unknown_error_s: float = 30.0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "AgentSettings":
        """Read `NIGHTREEL_GPU_READ_EVERY_S`, `…_READ_DEADLINE_S`, `…_XID_MEMORY_S` and `…_UNKNOWN_ERROR_S`.

        Empty is the default.

        Raises:
            SettingInvalid: one is no number above 0.
        """
        return cls(
            read_every_s=_seconds(environ, "NIGHTREEL_GPU_READ_EVERY_S", cls.read_every_s),
            read_deadline_s=_seconds(environ, "NIGHTREEL_GPU_READ_DEADLINE_S", cls.read_deadline_s),
            xid_memory_s=_seconds(environ, "NIGHTREEL_GPU_XID_MEMORY_S", cls.xid_memory_s),
            unknown_error_s=_seconds(environ, "NIGHTREEL_GPU_UNKNOWN_ERROR_S", cls.unknown_error_s),
        )


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not re.fullmatch(r"\d+(\.\d+)?", text) or float(text) <= 0:
        raise SettingInvalid(f"{name} must be seconds, a number above 0: it is {text!r}; correct it or leave it out")
    return float(text)
