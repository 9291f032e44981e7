"""The name of a result: a hash of everything that decides it."""

import hashlib
import json
from collections.abc import Iterable, Mapping

from pydantic import JsonValue

from stage_contract.models import ModelRef
from stage_contract.vocabulary import Stage

FINGERPRINT_HEX_DIGITS = 24


def fingerprint(
    stage: Stage,
    stage_version: str,
    models: Iterable[ModelRef],
    compute_type: str,
    parameters: Mapping[str, JsonValue],
    inputs: Mapping[Stage, str],
) -> str:
    """24 hex digits (96 bits) over the stage, its version, models, compute type, parameters and the
    fingerprints of the results it reads.

    Two runs with the same fingerprint give the same output, so the first one's is reused.
    """
    decides = {
        "stage": stage,
        "stage_version": stage_version,
        "models": sorted([m.role, m.name, m.revision, m.sha256] for m in models),
        "compute_type": compute_type,
        "parameters": dict(parameters),
        "inputs": dict(inputs),
    }
    canonical = json.dumps(decides, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:FINGERPRINT_HEX_DIGITS]
