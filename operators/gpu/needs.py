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


def _table(stage: Stage, model: str, compute_type: str, by_batch: Mapping[int, int]) -> dict[ModelKey, int]:
    return {ModelKey.of(stage, model.split("+"), compute_type, batch): mib for batch, mib in by_batch.items()}


NEEDS: dict[ModelKey, int] = {
    # faster-whisper's published benchmark of large-v2, of the same size, on an 8 GB card with beam 5: in float16 4.5 GB
    # window by window and 6.1 GB at batch 8, in int8 2.9 and 4.5 GB. Others report 3.9 to 4.6 GB for large-v3, and 9 GB
    # at batch 16. The highest, as GiB. Reckoned: batch 4, between its neighbours; int8 at 16, with float16's growth.
    **_table(Stage.TRANSCRIBE, "whisper-large-v3", "float16", {1: 4608, 4: 5376, 8: 6272, 16: 9216}),
    **_table(Stage.TRANSCRIBE, "whisper-large-v3", "int8_float16", {1: 3072, 4: 3776, 8: 4608, 16: 7552}),
    # 290 MB of float32 weights, half of that in float16; the rest is CUDA's context and cuBLAS' workspace, which
    # does not depend on the model. Reckoned for batches: 20 MiB a window, for keys and values of 1,500 positions, 512
    # wide, in 6 layers; the same reckoning gives large-v3 the growth that was published.
    **_table(Stage.TRANSCRIBE, "whisper-base.en", "float16", {1: 1024, 4: 1088, 8: 1216, 16: 1344}),
    **_table(Stage.TRANSCRIBE, "whisper-base.en", "int8_float16", {1: 1024, 4: 1088, 8: 1216, 16: 1344}),
    # 320 MB of weights in float16, CUDA's context and cuDNN's workspaces, and 64 MiB for each picture of 640 pixels in
    # YOLO. Reckoned, not measured: published figures go up to 4.2 GB, in float32.
    **{
        key: mib
        for clip in CLIP
        for key, mib in _table(
            Stage.ANALYZE, f"{clip}+yolov8n", "float16", {8: 1792, 16: 2304, 32: 3328, 64: 5376}
        ).items()
    },
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


def join_models(names: Iterable[str]) -> str:
    """The names as one text, the same whatever their order."""
    return "+".join(sorted(names))
