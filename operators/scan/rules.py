"""Which files of the archive a scan takes, and when it leaves one for later."""

import fnmatch
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from operators.settings import required, whole_seconds

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class ScanRules:
    """Shell patterns on `root/path`, where `*` matches `/` too and case does not count.

    A file is taken when one of `include` matches it and none of `exclude` matches it or a folder that it is in. It is
    still being written while its modification time is less than `settle_s` seconds from now, before or after.
    """

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    settle_s: int = 600

    @classmethod
    def from_environment(cls) -> "ScanRules":
        """The rules that the deployment's settings give.

        Raises:
            SettingMissing: one is not set, or is no number of seconds.
        """
        return cls(
            include=_patterns(required("NIGHTREEL_SCAN_INCLUDE")),
            exclude=_patterns(os.environ.get("NIGHTREEL_SCAN_EXCLUDE", "")),
            settle_s=whole_seconds("NIGHTREEL_SETTLE_S"),
        )

    def takes(self, name: str) -> bool:
        """Whether the patterns take the file `root/path`."""
        return self.includes(name) and not self.excludes(name) and self.enters(name.rpartition("/")[0])

    def enters(self, folder: str) -> bool:
        """Whether no pattern leaves out a folder, `root` or `root/path`, with all that is in it."""
        if not self.exclude:
            return True
        parts = folder.split("/")
        return not any(self.excludes("/".join(parts[:depth])) for depth in range(1, len(parts) + 1))

    def includes(self, name: str) -> bool:
        """Whether a pattern to include matches."""
        return self._include.match(name.lower()) is not None

    def excludes(self, name: str) -> bool:
        """Whether a pattern to exclude matches this very name."""
        return bool(self.exclude) and self._exclude.match(name.lower()) is not None

    def is_settling(self, mtime_ns: int, now_ns: int) -> bool:
        """Whether a file with this modification time may still be written to."""
        return abs(now_ns - mtime_ns) < self.settle_s * NANOSECONDS

    @cached_property
    def _include(self) -> re.Pattern[str]:
        return _matcher(self.include)

    @cached_property
    def _exclude(self) -> re.Pattern[str]:
        return _matcher(self.exclude)


def _patterns(text: str) -> tuple[str, ...]:
    return tuple(pattern.strip() for pattern in text.split(",") if pattern.strip())


def _matcher(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(pattern.lower()) for pattern in patterns))
