"""Publishing: a run's results become rows, one transaction per asset, and nothing is written twice."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sqlalchemy import Connection

from operators.clean_text import storable, storable_json
from operators.content import withdraw_enrichment, write_content
from operators.database import Database, transaction
from operators.errors import NightreelError
from operators.queries import query
from stage_contract.result import ItemResult, read_result, result_dir
from stage_contract.vocabulary import ResultStatus, Stage


class PublishError(NightreelError):
    """An asset's results cannot be published."""


class Publication(StrEnum):
    """What publishing one result did.

    `written`: its content is in place of what was there. `unchanged`: it was published before.
    `rejected`: the stage rejected the asset, which is recorded. `kept`: the same, and content of an
    earlier good result stays. `withdrawn`: an enrichment of another transcript was taken out.
    """

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    REJECTED = "rejected"
    KEPT = "kept"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True)
class Published:
    """What publishing an asset did, by stage."""

    asset_id: str
    stages: Mapping[Stage, Publication]

    @property
    def changed(self) -> bool:
        """Whether anything was written."""
        return any(publication is not Publication.UNCHANGED for publication in self.stages.values())


@dataclass(frozen=True)
class EarlierResult:
    """A result that was published before."""

    stage: Stage
    fingerprint: str
    status: ResultStatus
    is_current: bool


def publish_asset(database: Database, results: Path, asset_id: str, index: Mapping[Stage, str]) -> Published:
    """Publish an asset's results, all or none. `index` names the fingerprint of each stage's result.

    A good result takes the place of what its stage had found before. A rejection only replaces
    another rejection: a transcript that can be searched is worth more than the news that a later
    attempt, with other parameters or another model, was refused. Either way the result itself is
    recorded in `stage_result`.

    Raises:
        PublishError: the asset is not in the catalog, or a result is not complete.
        ContentError: a result's files break the stage contract.
    """
    found = [_complete_result(results, asset_id, stage, index[stage]) for stage in Stage if stage in index]
    with transaction(database) as connection:
        if connection.execute(query("lock_asset"), {"asset_id": asset_id}).first() is None:
            raise PublishError(f"an asset must be in the catalog before it is published: {asset_id} is not")
        earlier = list(_find_earlier(connection, asset_id))
        stages = {result.stage: _publish_result(connection, results, result, earlier) for result in found}
        if _withdraw_stale_enrichment(connection, asset_id):
            stages[Stage.ENRICH] = Publication.WITHDRAWN
    return Published(asset_id, stages)


def _complete_result(results: Path, asset_id: str, stage: Stage, fingerprint: str) -> ItemResult:
    directory = result_dir(results, asset_id, stage, fingerprint)
    result = read_result(directory)
    if result is None:
        raise PublishError(f"a result must be complete to be published: {directory} is not; run {stage} again")
    if (result.asset_id, result.stage, result.fingerprint) != (asset_id, stage, fingerprint):
        raise PublishError(
            f"a result must lie where its name says: {directory} holds {result.stage} {result.fingerprint} "
            f"of {result.asset_id}; delete it and run {stage} again"
        )
    return result


def _find_earlier(connection: Connection, asset_id: str) -> Iterator[EarlierResult]:
    for row in connection.execute(query("find_published"), {"asset_id": asset_id}):
        yield EarlierResult(Stage(row.stage), row.fingerprint, ResultStatus(row.status), row.is_current)


def _publish_result(
    connection: Connection, results: Path, result: ItemResult, earlier: list[EarlierResult]
) -> Publication:
    publication = decide_publication(result, [e for e in earlier if e.stage is result.stage])
    if publication is Publication.UNCHANGED:
        return publication
    connection.execute(query("save_result"), _result_row(result))
    if publication is not Publication.KEPT:
        key = {"asset_id": result.asset_id, "stage": result.stage, "fingerprint": result.fingerprint}
        connection.execute(query("make_current"), key)
    if publication is Publication.WRITTEN:
        directory = result_dir(results, result.asset_id, result.stage, result.fingerprint)
        write_content(connection, result.stage, result.asset_id, directory)
    return publication


def decide_publication(result: ItemResult, earlier: list[EarlierResult]) -> Publication:
    """What to do with `result`, given what was published of the same asset and stage."""
    current = next((e for e in earlier if e.is_current), None)
    same = next((e for e in earlier if e.fingerprint == result.fingerprint), None)
    if result.status is ResultStatus.DONE:
        is_written = same is not None and same.is_current and same.status is ResultStatus.DONE
        return Publication.UNCHANGED if is_written else Publication.WRITTEN
    has_content = current is not None and current.status is ResultStatus.DONE
    if same and (same.status is ResultStatus.DONE or same.is_current or has_content):
        return Publication.UNCHANGED
    return Publication.KEPT if has_content else Publication.REJECTED


def _withdraw_stale_enrichment(connection: Connection, asset_id: str) -> bool:
    if connection.execute(query("find_stale_enrichment"), {"asset_id": asset_id}).first() is None:
        return False
    connection.execute(query("withdraw_current"), {"asset_id": asset_id, "stage": Stage.ENRICH})
    withdraw_enrichment(connection, asset_id)
    return True


def _result_row(result: ItemResult) -> dict[str, object]:
    told = result.model_dump(mode="json")
    as_json = {
        name: json.dumps(storable_json(told[name])) for name in ("models", "parameters", "inputs", "files", "task")
    }
    return {
        "asset_id": result.asset_id,
        "stage": result.stage,
        "fingerprint": result.fingerprint,
        "status": result.status,
        "reason": result.rejection.reason if result.rejection else None,
        "message": storable(result.rejection.message) if result.rejection else None,
        "stage_version": storable(result.stage_version),
        "variant": result.variant,
        "compute_type": storable(result.compute_type),
        "finished_at": result.finished_at,
        **as_json,
    }
