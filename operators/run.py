"""The ends of a run: which assets it is about, and what became of them."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue

from operators.catalog import Location, Registered, RejectedLocation, find_media, known_assets, register, resolve
from operators.database import Database
from operators.errors import ChoiceInvalid, NightreelError, ShardMissing
from operators.gpu.configuration import GpuConfiguration
from operators.publish import publish_asset
from operators.routing import DevicePolicy, has_gpu_build, with_prerequisites
from operators.scan.walk import is_empty
from operators.settings import Folders
from operators.shard import USABLE, RunFolder, Shard, ShardItem, ShardLocation, StageIndex, StageItem
from operators.stage_plan import usable_inputs
from operators.timings import (
    RunItem,
    RunItemOutcome,
    RunOutcome,
    RunStart,
    begin_run,
    finish_run,
    run_outcome,
    set_item_outcomes,
)
from stage_contract.result import Rejection
from stage_contract.vocabulary import PASSING_REASONS, ItemOutcome, Reason, Stage

# Each asset is a mount of the stage container; the kernel takes thousands, but not gladly.
MAX_SHARD_ASSETS = 500
HASH_REPORT_BYTES = 1 << 30

NOWHERE = "asset"
"""Stands for the root of an asset that was asked for by its id and lies nowhere."""

log = logging.getLogger(__name__)

Indexes = Mapping[Stage, StageIndex | None]


class RootAway(NightreelError):
    """A root holds no files, where the catalog has some: its disk is not mounted, perhaps."""


@dataclass(frozen=True)
class RunRequest:
    """What a person or a DAG asks of a run, as in the trigger form."""

    files: tuple[str, ...]
    asset_ids: tuple[str, ...]
    stages: tuple[Stage, ...]
    device: DevicePolicy = DevicePolicy.AUTO


@dataclass(frozen=True)
class Places:
    """Where what a run is asked for lies: files, each with the asset that it was asked for as (none: by its path).

    `nowhere` are assets that were asked for by their id and of which the catalog has no place.
    """

    files: Mapping[Location, str | None]
    nowhere: tuple[ShardLocation, ...]


@dataclass(frozen=True)
class Fate:
    """What a run has made of one asset."""

    outcome: RunItemOutcome
    reason: Reason | None = None
    message: str = ""


def refuse_impossible(request: RunRequest, gpus: GpuConfiguration) -> None:
    """Refuse a run that insists on a GPU which can never be had.

    Raises:
        ChoiceInvalid: no GPU is configured, or a stage asked for fits none.
    """
    if request.device is not DevicePolicy.GPU:
        return
    stages = [stage for stage in with_prerequisites(request.stages) if has_gpu_build(stage)]
    if stages and not gpus.devices:
        raise ChoiceInvalid(
            f"device 'gpu' needs a GPU for {', '.join(stages)}: none is configured; set NIGHTREEL_GPU_DEVICES in .env "
            "and run `make up`, or choose 'auto' or 'cpu'"
        )
    for stage in stages:
        gpus.require_fit(stage, gpus.needs.get(stage, gpus.smallest_mib))


def begin_shard(database: Database, places: Folders, folder: RunFolder, run: RunStart, request: RunRequest) -> Shard:
    """Find, hash and register the files asked for, and write the run's shard.

    An asset that was asked for by its id and is not there any more is rejected; the others are processed.

    Raises:
        ChoiceInvalid: nothing was asked for, nothing was found, or more than a run can take; or it insists on a
            GPU that can never be had.
        RootAway: a root of assets that were asked for by their ids is empty.
        OSError: such a root cannot be read.
    """
    begin_run(database, run)
    folder.forget_shard()
    refuse_impossible(request, GpuConfiguration.from_environment())
    asked = _places(database, places.media_roots, request)
    if not asked.files and not asked.nowhere:
        raise ChoiceInvalid(
            f"a run needs at least one media file: none below {', '.join(request.files) or 'what was named'}; "
            "name files or folders below archive/ or inbox/, or asset ids"
        )
    if len(asked.files) > MAX_SHARD_ASSETS:
        raise ChoiceInvalid(
            f"a run takes at most {MAX_SHARD_ASSETS} files: {len(asked.files)} were named; "
            "trigger one run per subfolder"
        )
    _refuse_lost_roots(places.media_roots, asked)
    registered = register(database, places.media_roots, list(asked.files), _report_hashing)
    found = [_as_asked(one, asked.files[one.location]) for one in registered]
    shard = _shard(found, asked, with_prerequisites(request.stages))
    folder.write_shard(shard)
    set_item_outcomes(database, run.dag_id, run.run_id, _run_items(shard, {}))
    return shard


def publish_run(database: Database, places: Folders, folder: RunFolder, dag_id: str, run_id: str) -> list[RunItem]:
    """Load every result of the run into the database and record what became of each file.

    What cannot be loaded is recorded as failed; the others are loaded all the same. A database that is away
    is no asset's fault: that error passes, and the task is tried again.

    Raises:
        ShardMissing: the run never found its assets.
    """
    shard = folder.read_shard()
    if shard is None:
        finish_run(database, dag_id, run_id, datetime.now(UTC), RunOutcome.FAILED)
        raise ShardMissing("there is nothing to publish: find_assets did not end; see its log")
    indexes = {stage: folder.read_index(stage) for stage in shard.stages}
    fates: dict[str, Fate] = {}
    for number, item in enumerate(shard.items, start=1):
        fate = decide_fate(item.asset_id, shard.stages, indexes)
        try:
            published = publish_asset(database, places.results, item.asset_id, _complete(item.asset_id, indexes))
            changes = ", ".join(f"{stage} {what}" for stage, what in published.stages.items())
            log.info("[%d/%d] %s %s: %s", number, len(shard.items), item.source, fate.outcome, changes or "nothing")
        except NightreelError as error:
            log.exception("[%d/%d] %s could not be published", number, len(shard.items), item.source)
            fate = Fate(RunItemOutcome.FAILED, message=f"publish: {error}")
        fates[item.asset_id] = fate
    run_items = _run_items(shard, fates)
    set_item_outcomes(database, dag_id, run_id, run_items)
    finish_run(database, dag_id, run_id, datetime.now(UTC), run_outcome(run_items))
    return run_items


def decide_fate(asset_id: str, stages: Sequence[Stage], indexes: Indexes) -> Fate:
    """What the stages' indexes say of one asset.

    Failed when a stage failed; left when none did, but one did not come to it; rejected when no stage after the
    probe found anything it could use; otherwise done, with a word on what was missing.
    """
    left: Fate | None = None
    rejections = []
    is_used = False
    for stage in stages:
        if usable_inputs(asset_id, stage, indexes) is None:
            continue
        index = indexes[stage]
        item = index.items.get(asset_id) if index else None
        if item is None:
            left = left or Fate(RunItemOutcome.LEFT, message=f"{stage} did not come to it; its task's log says why")
        elif item.outcome is ItemOutcome.FAILED:
            return Fate(RunItemOutcome.FAILED, message=f"{stage}: {item.message}")
        elif item.outcome is ItemOutcome.LEFT:
            left = left or Fate(RunItemOutcome.LEFT, message=f"{stage}: {item.message}")
        elif item.outcome is ItemOutcome.REJECTED:
            rejections.append((stage, item))
        elif stage is not Stage.PROBE or tuple(stages) == (Stage.PROBE,):
            is_used = True
    if left:
        return left
    if rejections and not is_used:
        stage, item = rejections[0]
        return Fate(RunItemOutcome.REJECTED, item.reason, item.message)
    return Fate(RunItemOutcome.DONE, message="; ".join(f"{stage}: {item.message}" for stage, item in rejections))


def summary(items: Sequence[RunItem]) -> str:
    """How many files ended how: `3 done, 1 rejected`."""
    outcomes = Counter(item.outcome for item in items)
    return ", ".join(f"{outcomes[outcome]} {outcome}" for outcome in RunItemOutcome if outcomes[outcome])


def run_parameters(params: Mapping[str, JsonValue]) -> RunRequest:
    """The trigger form's values, as a request."""
    return RunRequest(
        files=tuple(str(file) for file in _list(params, "files")),
        asset_ids=tuple(str(asset_id) for asset_id in _list(params, "asset_ids")),
        stages=tuple(Stage(str(stage)) for stage in _list(params, "stages")),
        device=DevicePolicy(str(params.get("device") or DevicePolicy.AUTO)),
    )


def _list(params: Mapping[str, JsonValue], name: str) -> list[JsonValue]:
    value = params.get(name) or []
    if not isinstance(value, list):
        raise ChoiceInvalid(f"{name} must be a list: it is {value!r}")
    return value


def _places(database: Database, roots: Mapping[str, Path], request: RunRequest) -> Places:
    found: dict[Location, str | None] = {}
    for file in request.files:
        root, _, path = file.partition("/")
        if root not in roots:
            raise ChoiceInvalid(f"a file must lie below {' or '.join(f'{r}/' for r in roots)}: {file!r} does not")
        start = roots[root] / path
        # A file that is not there is no mistake of the form: it gets its row and its reason.
        is_folder = start.is_dir() and not start.is_symlink()
        found |= dict.fromkeys(find_media(roots, root, path) if is_folder else [Location(root, path)])
    known = known_assets(database, request.asset_ids)
    if request.asset_ids and not known:
        raise ChoiceInvalid(
            f"asset ids must be known: of {', '.join(request.asset_ids)} the catalog has none; name the files instead"
        )
    resolved = resolve(database, roots, request.asset_ids)
    for asset_id, location in resolved.items():
        found.setdefault(location, asset_id)
    missing = [asset_id for asset_id in dict.fromkeys(request.asset_ids) if asset_id not in resolved]
    return Places(found, tuple(_nowhere(asset_id, is_known=asset_id in known) for asset_id in missing))


def _refuse_lost_roots(roots: Mapping[str, Path], asked: Places) -> None:
    for root in sorted({location.root for location, asset_id in asked.files.items() if asset_id}):
        if is_empty(roots[root]):
            raise RootAway(
                f"the root {root!r} must hold files: it is empty, and the catalog has files there; mount its disk"
            )


def _nowhere(asset_id: str, is_known: bool) -> ShardLocation:
    rejection = Rejection(
        reason=Reason.VANISHED,
        message=f"an asset must lie somewhere: the catalog has no place of {asset_id}; name a file",
    )
    return ShardLocation(root=NOWHERE, path=asset_id, asset_id=asset_id if is_known else None, rejection=rejection)


def _report_hashing(location: Location, done_bytes: int, size_bytes: int) -> None:
    if done_bytes == size_bytes or done_bytes % HASH_REPORT_BYTES == 0:
        log.info("hashed %s: %d of %d MiB", location.shown, done_bytes >> 20, size_bytes >> 20)


def _shard(registered: Sequence[Registered], asked: Places, stages: tuple[Stage, ...]) -> Shard:
    items: dict[str, ShardItem] = {}
    locations = []
    for found in registered:
        root, shown = found.location.root, found.location.shown
        if isinstance(found, RejectedLocation):
            asked_as = asked.files[found.location]
            locations.append(ShardLocation(root=root, path=shown, asset_id=asked_as, rejection=found.rejection))
            continue
        locations.append(ShardLocation(root=root, path=shown, asset_id=found.asset_id))
        item = ShardItem(
            asset_id=found.asset_id,
            root=root,
            path=found.real_path,
            size_bytes=found.size_bytes,
            mtime_ns=found.mtime_ns,
        )
        items.setdefault(found.asset_id, item)
    locations += asked.nowhere
    for location in locations:
        if rejected := location.rejection:
            log.warning("%s/%s rejected (%s): %s", location.root, location.path, rejected.reason, rejected.message)
    return Shard(items=tuple(items.values()), locations=tuple(locations), stages=stages)


def _as_asked(found: Registered, asked_as: str | None) -> Registered:
    """What was found, rejected where it is not the asset that was asked for."""
    if isinstance(found, RejectedLocation) or asked_as in (None, found.asset_id):
        return found
    message = f"a file must hold the asset that was asked for, {asked_as}: it holds {found.asset_id} by now"
    return RejectedLocation(found.location, Rejection(reason=Reason.CHANGED, message=message))


def _run_items(shard: Shard, fates: Mapping[str, Fate]) -> list[RunItem]:
    run_items = []
    for location in shard.locations:
        if location.rejection:
            fate = Fate(RunItemOutcome.REJECTED, location.rejection.reason, location.rejection.message)
        else:
            fate = fates.get(str(location.asset_id), Fate(RunItemOutcome.PENDING))
        run_items.append(
            RunItem(location.root, location.path, location.asset_id, fate.outcome, fate.reason, fate.message)
        )
    return run_items


def _complete(asset_id: str, indexes: Indexes) -> dict[Stage, str]:
    found = {stage: index.items[asset_id] for stage, index in indexes.items() if index and asset_id in index.items}
    return {stage: item.fingerprint for stage, item in found.items() if _has_result(item)}


def _has_result(item: StageItem) -> bool:
    is_kept = item.outcome is ItemOutcome.REJECTED and item.reason not in PASSING_REASONS
    return item.outcome in USABLE or is_kept
