"""Out of memory: what a stage may try next. Decides only; the runner does it."""

from collections.abc import Sequence
from dataclasses import dataclass

from stage_contract.errors import StageError
from stage_contract.request import StageRequest


@dataclass(frozen=True)
class Footing:
    """What a stage computes in, and how many pictures or windows at a time."""

    compute_type: str
    batch_size: int


def footings(request: StageRequest) -> tuple[Footing, ...]:
    """What a request may try, in order: as asked; half the batch; the smaller compute type. Each takes less.

    A batch of one has no half, and not every request names a smaller type; the first is always there.

    Raises:
        StageError: the request names a smaller type, and not what its results would be called.
    """
    footing = Footing(request.compute_type, request.batch_size)
    found = [footing]
    if footing.batch_size > 1:
        footing = Footing(footing.compute_type, footing.batch_size // 2)
        found.append(footing)
    if request.smaller_compute_type not in (None, request.compute_type):
        _check_fingerprints(request)
        found.append(Footing(str(request.smaller_compute_type), footing.batch_size))
    return tuple(found)


def on_footing(request: StageRequest, footing: Footing) -> StageRequest:
    """The request as it would have been asked for this footing; another compute type gives other results.

    What a smaller footing needs was not measured, and the process holds some memory by then: its `need_mib` is 0.
    """
    if footing == Footing(request.compute_type, request.batch_size):
        return request
    if footing.compute_type == request.compute_type:
        return request.model_copy(update={"batch_size": footing.batch_size, "need_mib": 0})
    items = tuple(
        item.model_copy(update={"fingerprint": item.smaller_fingerprint, "smaller_fingerprint": None})
        for item in request.items
    )
    changed = {
        "compute_type": footing.compute_type,
        "smaller_compute_type": None,
        "batch_size": footing.batch_size,
        "need_mib": 0,
        "items": items,
    }
    return request.model_copy(update=changed)


def describe_retreat(before: Footing, after: Footing) -> str:
    """What was done, for the log and the outcome."""
    if before.compute_type != after.compute_type:
        return f"out of memory in {before.compute_type}, went on in {after.compute_type}"
    return f"out of memory at batch {before.batch_size}, went on with batch {after.batch_size}"


def describe_end(tried: Sequence[Footing]) -> str:
    """That nothing smaller is left, where something smaller was tried."""
    if len(tried) == 1:
        return "nothing smaller to try"
    return f"and still out of memory in {tried[-1].compute_type} at batch {tried[-1].batch_size}"


def _check_fingerprints(request: StageRequest) -> None:
    nameless = [item.source for item in request.items if item.smaller_fingerprint is None]
    if nameless:
        raise StageError(
            f"items of a request with a smaller compute type must each have a smaller_fingerprint: "
            f"{len(nameless)} have none, {nameless[0]!r} first; give it, or leave smaller_compute_type out"
        )
