"""Runs one shard in the real media image, as Airflow's side does, under all its restrictions."""

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue

from stage_contract.fingerprint import fingerprint
from stage_contract.phases import PhaseRecord, read_phases
from stage_contract.request import RequestItem, StageRequest, TaskKey
from stage_contract.resources import DEFAULT_COMPUTE_TYPE
from stage_contract.result import ItemResult, StageOutcome, read_result, result_dir
from stage_contract.vocabulary import Stage, Variant
from tests.corpus.make_corpus import MEDIA_IMAGE

RESTRICTIONS = (
    *("--network", "none", "--read-only", "--tmpfs", "/tmp:size=64m", "--user", "10001", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges", "--memory", "512m", "--cpus", "1", "--pids-limit", "64"),
)

PROBE_PARAMETERS: dict[str, JsonValue] = {"max_duration_s": 86_400.0}
EXTRACT_PARAMETERS: dict[str, JsonValue] = {"sample_rate_hz": 16_000}


@dataclass(frozen=True)
class Shard:
    """What one container left behind. `results` is by path in the corpus; none where there is no result."""

    outcome: StageOutcome
    results: Mapping[str, ItemResult | None]
    phases: list[PhaseRecord]
    folder: Path
    log: str

    def output(self, path: str, name: str) -> Path:
        """A file of a result."""
        result = self.results[path]
        assert result is not None, f"{path} has no result"
        return result_dir(self.folder, result.asset_id, result.stage, result.fingerprint) / name


def make_items(
    archive: Path, paths: list[str], stage: Stage, parameters: dict[str, JsonValue], earlier: Shard | None = None
) -> list[RequestItem]:
    """Items as the catalog would write them. `earlier` is the shard whose results they read."""
    items = []
    for path in paths:
        file = archive / path
        result = earlier.results[path] if earlier else None
        inputs = {result.stage: result.fingerprint} if result else {}
        items.append(
            RequestItem(
                asset_id=hashlib.sha256(file.read_bytes()).hexdigest(),
                source=f"archive/{path}",
                size_bytes=file.stat().st_size,
                mtime_ns=file.stat().st_mtime_ns,
                fingerprint=fingerprint(stage, "1", (), "none", parameters, inputs),
                inputs=inputs,
            )
        )
    return items


def run_container(
    archive: Path, items: list[RequestItem], stage: Stage, parameters: dict[str, JsonValue], folder: Path
) -> Shard:
    """Run one shard as Airflow's side does: own results writable, all else read-only."""
    work, results = Path(tempfile.mkdtemp(prefix="work-", dir=folder)), folder / "results"
    work.chmod(0o777)
    (work / "request.json").write_text(_request(items, stage, parameters).model_dump_json())
    mounts = [f"{archive}:/media/archive:ro", f"{results}:/results:ro", f"{work}:/work"]
    for item in items:
        writable = results / "assets" / item.asset_id / stage
        writable.mkdir(parents=True, exist_ok=True)
        writable.chmod(0o777)
        mounts.append(f"{writable}:/results/assets/{item.asset_id}/{stage}")
    volumes = [word for mount in mounts for word in ("--volume", mount)]
    command = ["docker", "run", "--rm", *RESTRICTIONS, *volumes, MEDIA_IMAGE, "--request", "/work/request.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    log = done.stdout + done.stderr
    assert (work / "outcome.json").exists(), log
    outcome = StageOutcome.model_validate_json((work / "outcome.json").read_bytes())
    assert outcome.exit_code == done.returncode, log
    found = {
        item.source.removeprefix("archive/"): read_result(result_dir(results, item.asset_id, stage, item.fingerprint))
        for item in items
    }
    return Shard(outcome, found, read_phases(work / "phases.jsonl"), results, log)


def _request(items: list[RequestItem], stage: Stage, parameters: dict[str, JsonValue]) -> StageRequest:
    return StageRequest(
        stage=stage,
        task=TaskKey(dag_id="test", run_id="test", task_id=stage.replace(".", "_"), try_number=1),
        variant=Variant.CPU,
        compute_type=DEFAULT_COMPUTE_TYPE[stage, Variant.CPU],
        parameters=parameters,
        submitted_at=datetime.now(UTC),
        items=tuple(items),
    )


def image_label(name: str) -> dict[str, str]:
    """A label of the media image, which holds JSON."""
    command = ["docker", "image", "inspect", "--format", f'{{{{index .Config.Labels "{name}"}}}}', MEDIA_IMAGE]
    labels: dict[str, str] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return labels
