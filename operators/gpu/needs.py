"""How much VRAM work takes: a starting table, then the peaks that were measured here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import Row

from operators.database import Database, transaction
from operators.gpu.configuration import GpuConfiguration
from operators.queries import query
from stage_contract.vocabulary import Stage

LEAST_MEASUREMENTS = 3
LAST_MEASUREMENTS = 20
MARGIN_PERCENT = 10
ROUNDED_TO_MIB = 64


@dataclass(frozen=True)
class ModelKey:
    """What decides how much VRAM work takes. `models` are names in alphabetical order."""

    stage: Stage
    models: tuple[str, ...]
    compute_type: str
    batch_size: int

    @classmethod
    def of(cls, stage: Stage, models: Iterable[str], compute_type: str, batch_size: int) -> "ModelKey":
        """The key, whatever the order of the names."""
        return cls(stage, tuple(sorted(models)), compute_type, batch_size)


class NeedSource(StrEnum):
    """Where a need comes from. `unknown`: nobody measured it, so it takes the whole smallest device."""

    MEASURED = "measured"
    TABLE = "table"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Need:
    """VRAM in MiB. `measurements` is over how many runs it was measured, 0 from the table."""

    mib: int
    source: NeedSource
    measurements: int = 0


CLIP = ("clip-vit-b-32-laion2b", "clip-vit-b-32-untrained")
"""The same network, with weights and without."""

NEEDS: dict[ModelKey, int] = {
    # faster-whisper's published benchmark of large-v2, of the same size, on an 8 GB card: 4.5 GB in float16 with
    # beam 5, 2.9 GB in int8; others report 3.9 to 4.6 GB for large-v3. The highest, as GiB, less the driver's own.
    ModelKey.of(Stage.TRANSCRIBE, ["whisper-large-v3"], "float16", 1): 4608,
    ModelKey.of(Stage.TRANSCRIBE, ["whisper-large-v3"], "int8_float16", 1): 3072,
    # 290 MB of float32 weights, half of that in float16; the rest is CUDA's context and cuBLAS' workspace, which
    # does not depend on the model.
    ModelKey.of(Stage.TRANSCRIBE, ["whisper-base.en"], "float16", 1): 1024,
    ModelKey.of(Stage.TRANSCRIBE, ["whisper-base.en"], "int8_float16", 1): 1024,
    # 320 MB of weights in float16, CUDA's context and cuDNN's workspaces, and 16 pictures of 640 pixels through YOLO.
    # Reckoned, not measured: published figures go up to 4.2 GB, in float32 and at larger batches.
    **{ModelKey.of(Stage.ANALYZE, [clip, "yolov8n"], "float16", 16): 2304 for clip in CLIP},
}
"""MiB to start with."""


def table_need(key: ModelKey) -> int | None:
    """What the table says, in MiB; none when the models are not in it."""
    return NEEDS.get(key)


def measured_needs(database: Database) -> dict[ModelKey, Need]:
    """What the last ended leases took at most, with a margin of a tenth, rounded up to 64 MiB.

    Only kinds of work of which at least three leases were measured; the last twenty count.
    """
    row = {"least": LEAST_MEASUREMENTS, "last": LAST_MEASUREMENTS}
    with transaction(database) as connection:
        return {
            _key(found): Need(with_margin(found.peak_mib), NeedSource.MEASURED, found.measurements)
            for found in connection.execute(query("measured_needs"), row)
        }


def _key(found: Row[Any]) -> ModelKey:
    names = found.models.split("+") if found.models else ()
    return ModelKey.of(Stage(found.stage), names, found.compute_type, found.batch_size)


def with_margin(peak_mib: int) -> int:
    """A measured peak as a need, in MiB."""
    hundredths = peak_mib * (100 + MARGIN_PERCENT)
    return -(-hundredths // (100 * ROUNDED_TO_MIB)) * ROUNDED_TO_MIB


def find_need(key: ModelKey, measured: Mapping[ModelKey, Need], configuration: GpuConfiguration) -> Need:
    """What this work takes, and how that is known."""
    if key in measured:
        return _capped(measured[key], configuration)
    from_table = table_need(key)
    if from_table is not None:
        return Need(from_table, NeedSource.TABLE)
    return Need(configuration.smallest_mib, NeedSource.UNKNOWN)


def _capped(need: Need, configuration: GpuConfiguration) -> Need:
    """A peak that a device here can hold fits it, though its margin does not: else it would never be tried there again.

    What was measured on a larger card, that is here no more, stays as it is.
    """
    least_peak_mib = (need.mib - ROUNDED_TO_MIB) * 100 // (100 + MARGIN_PERCENT)
    if any(least_peak_mib < device.vram_mib for device in configuration.devices):
        return replace(need, mib=min(need.mib, configuration.largest_mib))
    return need


def need_mib(
    stage: Stage,
    model_names: Iterable[str],
    compute_type: str,
    batch_size: int,
    measured: Mapping[ModelKey, Need],
    configuration: GpuConfiguration,
) -> int:
    """VRAM in MiB that this work takes: as measured, as the table says, or the whole smallest device."""
    return find_need(ModelKey.of(stage, model_names, compute_type, batch_size), measured, configuration).mib


def join_models(names: Iterable[str]) -> str:
    """The names as one text, the same whatever their order."""
    return "+".join(sorted(names))
