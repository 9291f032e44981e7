"""How many pictures or windows a stage computes at a time on a GPU: as many as its share of VRAM holds. Decides only.

A batch decides the need, and the need decides the pool slots and the lease: whoever wants one of them asks here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from operators.gpu.configuration import GpuConfiguration
from operators.gpu.needs import ModelKey, Need, NeedSource, find_need
from stage_contract.resources import BATCH_SIZES
from stage_contract.vocabulary import Stage, Variant


@dataclass(frozen=True)
class Batch:
    """A kind of work with its batch size, and what that takes."""

    key: ModelKey
    need: Need


def choose_batch(
    stage: Stage,
    models: Iterable[str],
    compute_type: str,
    measured: Mapping[ModelKey, Need],
    configuration: GpuConfiguration,
    usable_mib: Mapping[str, int] | None = None,
) -> Batch:
    """The largest batch whose need is known and fits `room_mib`; the smallest where none does.

    `usable_mib` is what other programs leave of each device, by UUID; none: all of it. What nobody measured is never
    tried at more than the smallest batch: `benchmark_devices` measures others.
    """
    names = tuple(models)
    keys = [ModelKey.of(stage, names, compute_type, size) for size in BATCH_SIZES[stage, Variant.CUDA]]
    batches = [Batch(key, find_need(key, measured, configuration)) for key in sorted(keys, key=_size, reverse=True)]
    room = room_mib(batches[-1].need.mib, configuration, usable_mib or {})
    fitting = (batch for batch in batches if batch.need.source is not NeedSource.UNKNOWN and batch.need.mib <= room)
    return next(fitting, batches[-1])


def room_mib(least_mib: int, configuration: GpuConfiguration, usable_mib: Mapping[str, int]) -> int:
    """VRAM that work may take on any device that has `least_mib`; 0 where none has it.

    All that is usable where a lease takes the whole device, else the slots that the work takes anyway.
    """
    usable = (
        min(device.capacity_mib, usable_mib.get(device.uuid, device.capacity_mib)) for device in configuration.devices
    )
    smallest_mib = min((mib for mib in usable if mib >= least_mib), default=0)
    if configuration.whole_device:
        return smallest_mib
    return min(smallest_mib, configuration.pool_slots(least_mib) * configuration.budget_mib)


def _size(key: ModelKey) -> int:
    return key.batch_size
