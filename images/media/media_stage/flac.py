"""How long a FLAC file is, from its own header."""

from pathlib import Path

STREAMINFO_END = 42
SAMPLES_MASK = (1 << 36) - 1


def count_samples(path: Path) -> int:
    """Samples per channel after STREAMINFO (RFC 9639, 8.2); 0 when the file is absent or was never finished."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        header = file.read(STREAMINFO_END)
    if len(header) < STREAMINFO_END or header[:4] != b"fLaC":
        return 0
    # 20 bits rate, 3 bits channels, 5 bits depth, then 36 bits of total samples.
    return int.from_bytes(header[18:26], "big") & SAMPLES_MASK
