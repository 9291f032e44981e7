"""Runs the real nlp image as Airflow's side does: no network, read-only root, a normal user, limits."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue

from stage_contract.outputs import ENRICHMENT_FILE, TRANSCRIPT_FILE, Enrichment, Transcript
from stage_contract.phases import PHASES_FILE, PhaseRecord, read_phases
from stage_contract.request import RequestItem, StageRequest, TaskKey
from stage_contract.result import OUTCOME_FILE, ItemResult, StageOutcome, read_result, result_dir
from stage_contract.vocabulary import Phase, Stage, Variant

IMAGE = os.environ.get("NIGHTREEL_TEST_NLP_IMAGE", "nightreel/nlp:cpu")
TRANSCRIPT_FINGERPRINT = "1" * 24
FINGERPRINT = "2" * 24
RESTRICTIONS = [
    "--rm", "--network=none", "--read-only", "--tmpfs=/tmp", "--user=10001", "--cap-drop=ALL",
    "--security-opt=no-new-privileges", "--cpus=1", "--pids-limit=128", "--env=OMP_NUM_THREADS=1",
]  # fmt: skip


def asset_id(number: int) -> str:
    """A made-up asset id."""
    return f"{number:064x}"


@dataclass(frozen=True)
class Finished:
    """What a container left."""

    exit_code: int
    log: str
    outcome: StageOutcome
    phases: list[PhaseRecord]
    results: Path

    def directory(self, number: int = 0) -> Path:
        """Where the result of an item is."""
        return result_dir(self.results, asset_id(number), Stage.ENRICH, FINGERPRINT)

    def enrichment(self, number: int = 0) -> Enrichment:
        """The output for an item."""
        return Enrichment.model_validate_json((self.directory(number) / ENRICHMENT_FILE).read_bytes())

    def peak_rss_mib(self, phase: Phase) -> float:
        """The most resident memory that a phase took for any item."""
        peaks = [record.peak_rss_mib for record in self.phases if record.phase is phase]
        return max(peak for peak in peaks if peak is not None)

    def result(self, number: int = 0) -> ItemResult | None:
        """The complete result of an item."""
        return read_result(self.directory(number))


@dataclass(frozen=True)
class NlpContainer:
    """Starts containers over one results folder; transcripts are numbered from 0."""

    work: Path
    results: Path

    def run(
        self,
        transcripts: Sequence[Transcript | None],
        parameters: Mapping[str, JsonValue] | None = None,
        models: Path | None = None,
        memory: str = "2g",
    ) -> Finished:
        """Write the inputs, run, and read what came out. None is a transcript that is not there."""
        mounts = [f"{self.work}:/work", f"{self.results}:/results:ro"]
        mounts += [f"{models}:/opt/models:ro"] if models else []
        for number, transcript in enumerate(transcripts):
            source = result_dir(self.results, asset_id(number), Stage.TRANSCRIBE, TRANSCRIPT_FINGERPRINT)
            source.mkdir(parents=True, exist_ok=True)
            if transcript:
                (source / TRANSCRIPT_FILE).write_text(transcript.model_dump_json())
            output = self.results / "assets" / asset_id(number) / Stage.ENRICH
            output.mkdir(exist_ok=True)
            output.chmod(0o777)
            mounts.append(f"{output}:/results/assets/{asset_id(number)}/{Stage.ENRICH}")
        (self.work / "request.json").write_text(_request(len(transcripts), parameters or {}).model_dump_json())
        (self.work / PHASES_FILE).unlink(missing_ok=True)
        volumes = [f"--volume={mount}" for mount in mounts]
        command = ["docker", "run", *RESTRICTIONS, f"--memory={memory}", *volumes, IMAGE]
        done = subprocess.run(
            [*command, "--request", "/work/request.json"], capture_output=True, text=True, timeout=600, check=False
        )
        return Finished(
            exit_code=done.returncode,
            log=done.stdout + done.stderr,
            outcome=StageOutcome.model_validate_json((self.work / OUTCOME_FILE).read_bytes()),
            phases=read_phases(self.work / PHASES_FILE),
            results=self.results,
        )


def _request(count: int, parameters: Mapping[str, JsonValue]) -> StageRequest:
    items = tuple(
        RequestItem(
            asset_id=asset_id(number),
            source=f"archive/tape {number}.mp4",
            size_bytes=1,
            mtime_ns=0,
            fingerprint=FINGERPRINT,
            inputs={Stage.TRANSCRIBE: TRANSCRIPT_FINGERPRINT},
        )
        for number in range(count)
    )
    return StageRequest(
        stage=Stage.ENRICH,
        task=TaskKey(dag_id="process_media", run_id="test", task_id="nlp_enrich", try_number=1),
        variant=Variant.CPU,
        compute_type="float32",
        parameters=dict(parameters),
        submitted_at=datetime.now(UTC),
        items=items,
    )
