"""Requests for the toy stage, and the process that works on them."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from stage_contract.fingerprint import fingerprint
from stage_contract.phases import PhaseRecord, read_phases
from stage_contract.request import RequestItem, StageRequest, TaskKey
from stage_contract.result import ItemResult, StageOutcome, read_result, result_dir
from stage_contract.vocabulary import ItemOutcome, Phase, Stage, Variant

CONTRACT = Path(__file__).parents[2] / "images" / "base"
PROGRAM = Path(__file__).with_name("toy_stage.py")
DEADLINE_S = 30


class Bench:
    """One request's folders, and the process that works on it."""

    def __init__(self, root: Path) -> None:
        self.work, self.media, self.results = root / "work", root / "media", root / "results"
        for folder in (self.work, self.media / "archive", self.results):
            folder.mkdir(parents=True)
        self.diary_file = self.work / "diary.txt"
        self.items: list[RequestItem] = []

    def ask(self, *texts: str, batch_size: int = 1, smaller: str | None = None, short_setups: int = 0) -> None:
        """Write a request with one item for each text. `smaller` is the compute type that it may go on in."""
        self.items = [self._item(number, text, smaller) for number, text in enumerate(texts)]
        request = StageRequest(
            stage=Stage.PROBE,
            task=TaskKey(dag_id="test", run_id="test", task_id="probe", try_number=1),
            variant=Variant.CPU,
            compute_type="none",
            smaller_compute_type=smaller,
            batch_size=batch_size,
            parameters={"diary": str(self.diary_file), "short_setups": short_setups},
            submitted_at=datetime.now(UTC) - timedelta(seconds=5),
            items=tuple(self.items),
        )
        (self.work / "request.json").write_text(request.model_dump_json())

    def _item(self, number: int, text: str, smaller: str | None) -> RequestItem:
        file = self.media / "archive" / f"{number}.txt"
        if not file.exists():
            file.write_text(text)
        return RequestItem(
            asset_id=hashlib.sha256(text.encode()).hexdigest(),
            source=f"archive/{number}.txt",
            size_bytes=file.stat().st_size,
            mtime_ns=file.stat().st_mtime_ns,
            fingerprint=fingerprint(Stage.PROBE, "7", (), "none", {}, {}),
            smaller_fingerprint=fingerprint(Stage.PROBE, "7", (), smaller, {}, {}) if smaller else None,
        )

    def start(self) -> subprocess.Popen[bytes]:
        """Start the stage on the request."""
        folders = ("--media", self.media, "--results", self.results)
        command = [sys.executable, str(PROGRAM), "--request", str(self.work / "request.json"), *map(str, folders)]
        return subprocess.Popen(
            command, env=os.environ | {"PYTHONPATH": str(CONTRACT)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def run(self, *texts: str, batch_size: int = 1, smaller: str | None = None, short_setups: int = 0) -> int:
        """Ask, and wait for the exit code."""
        self.ask(*texts, batch_size=batch_size, smaller=smaller, short_setups=short_setups)
        process = self.start()
        process.communicate(timeout=DEADLINE_S)
        return process.returncode

    def stop_while_hanging(self, number: signal.Signals, *texts: str) -> int:
        """Ask, send the signal as soon as the stage hangs in an item, and wait for the exit code."""
        self.ask(*texts)
        process = self.start()
        deadline_s = time.monotonic() + DEADLINE_S
        while "hang" not in self.diary():
            assert time.monotonic() < deadline_s, "the stage never came to the item that hangs"
            time.sleep(0.02)
        process.send_signal(number)
        process.communicate(timeout=DEADLINE_S)
        return process.returncode

    def diary(self) -> list[str]:
        return self.diary_file.read_text().splitlines() if self.diary_file.exists() else []

    def outcome(self) -> StageOutcome:
        return StageOutcome.model_validate_json((self.work / "outcome.json").read_bytes())

    def outcomes(self) -> list[ItemOutcome]:
        return [item.outcome for item in self.outcome().items]

    def folder(self, number: int) -> Path:
        item = self.items[number]
        return result_dir(self.results, item.asset_id, Stage.PROBE, item.fingerprint)

    def result(self, number: int) -> ItemResult | None:
        return read_result(self.folder(number))

    def smaller_result(self, number: int) -> ItemResult | None:
        """The item's result in the smaller compute type."""
        item = self.items[number]
        return read_result(result_dir(self.results, item.asset_id, Stage.PROBE, str(item.smaller_fingerprint)))

    def phases(self, phase: Phase) -> list[PhaseRecord]:
        return [record for record in read_phases(self.work / "phases.jsonl") if record.phase is phase]
