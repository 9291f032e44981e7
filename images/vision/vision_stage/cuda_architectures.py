"""Whether a torch wheel has kernels for a GPU."""

import re
from collections.abc import Sequence


def serves(capability: tuple[int, int], architectures: Sequence[str]) -> bool:
    """Whether one of `architectures` (`sm_80`, `compute_90`) runs on a device of `capability`, (8, 6) for instance.

    Machine code (`sm`) runs on devices of the same major version and an equal or higher minor one.
    Intermediate code (`compute`) runs on any later device. `sm_90a` and its like run on that device only.
    """
    for architecture in architectures:
        match = re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", architecture)
        if not match:
            continue
        kind, major, minor, only = match[1], int(match[2]), int(match[3]), match[4]
        if only and (major, minor) == capability:
            return True
        if not only and kind == "sm" and major == capability[0] and minor <= capability[1]:
            return True
        if not only and kind == "compute" and (major, minor) <= capability:
            return True
    return False
