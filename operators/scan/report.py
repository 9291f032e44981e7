"""What a scan has found so far, and in the end."""

from dataclasses import dataclass
from datetime import datetime


@dataclass
class Tally:
    """Counts while a scan goes on; named as in the table `archive_scan`, which says what each means."""

    files_found: int = 0
    files_unchanged: int = 0
    files_hashed: int = 0
    bytes_hashed: int = 0
    files_known_content: int = 0
    files_being_written: int = 0
    files_rejected: int = 0
    files_vanished: int = 0
    files_returned: int = 0


@dataclass(frozen=True)
class ScanReport:
    """A row of `archive_scan`, ended. `message` says in words what kept it from being complete, or what to mend."""

    scan_id: int
    folders: tuple[str, ...]
    started_at: datetime
    finished_at: datetime
    files_found: int
    files_unchanged: int
    files_hashed: int
    bytes_hashed: int
    files_known_content: int
    files_being_written: int
    files_rejected: int
    files_vanished: int
    files_returned: int
    is_complete: bool
    message: str

    @property
    def summary(self) -> str:
        """One line for a log or a task's note."""
        counts = {
            "found": self.files_found,
            "unchanged": self.files_unchanged,
            "hashed": self.files_hashed,
            "of them known by content": self.files_known_content,
            "being written": self.files_being_written,
            "rejected": self.files_rejected,
            "vanished": self.files_vanished,
            "back again": self.files_returned,
        }
        told = ", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "found")
        return "; ".join(filter(None, [f"{told}{'' if self.is_complete else '; not complete'}", self.message]))
