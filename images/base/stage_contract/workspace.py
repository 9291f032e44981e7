"""Where one item's files are read and written, so that a crash never leaves a half-written result."""

import hashlib
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel

from stage_contract.errors import ItemRejected
from stage_contract.models import ModelRef
from stage_contract.request import RequestItem, StageRequest
from stage_contract.result import (
    RESULT_FILE,
    ItemResult,
    OutputFile,
    Rejection,
    read_result,
    result_dir,
)
from stage_contract.vocabulary import Reason, ResultStatus, Stage


class ItemWorkspace:
    """The files of one item: its source, the earlier results it reads, and what it writes."""

    def __init__(self, request: StageRequest, item: RequestItem, media: Path, results: Path) -> None:
        self._request = request
        self.item = item
        self._media = media
        self._results = results
        self.directory = result_dir(results, item.asset_id, request.stage, item.fingerprint)
        # Named after the task, not the try: a retry clears its own remains, and two runs that work on the
        # same asset at once do not meet.
        task = request.task
        owner = hashlib.sha256(f"{task.dag_id}/{task.run_id}/{task.task_id}/{task.map_index}".encode()).hexdigest()
        self._staging = self.directory.with_name(f".{item.fingerprint}.{owner[:12]}")
        self._files: dict[str, OutputFile] = {}
        self._was_opened = False

    def source(self) -> Path:
        """The media file, checked to be the one that the catalog saw.

        Raises:
            ItemRejected: it vanished, changed, is no regular file, or lies outside the media mount.
        """
        self._was_opened = True
        path = self._media / self.item.source
        try:
            resolved = path.resolve(strict=True)
            stat = resolved.stat()
        except (OSError, RuntimeError) as error:
            raise ItemRejected(
                Reason.VANISHED, f"the file must stay until it is processed: {self.item.source!r} is gone ({error})"
            ) from error
        if not resolved.is_relative_to(self._media.resolve()):
            raise ItemRejected(
                Reason.OUTSIDE_ARCHIVE, f"links must stay inside the archive: {self.item.source!r} leads out of it"
            )
        if not resolved.is_file():
            raise ItemRejected(Reason.NOT_A_FILE, f"media must be a regular file: {self.item.source!r} is none")
        if (stat.st_size, stat.st_mtime_ns) != (self.item.size_bytes, self.item.mtime_ns):
            raise ItemRejected(
                Reason.CHANGED,
                f"the file must not change while it is processed: {self.item.source!r} had "
                f"{self.item.size_bytes} bytes, now {stat.st_size}; process it again when it is complete",
            )
        return resolved

    def confirm_source(self) -> None:
        """Check once more a file that was opened: what was made of it must be of the content that names it.

        Raises:
            ItemRejected: it changed or went away in the meantime.
        """
        if self._was_opened:
            self.source()

    def input_file(self, stage: Stage, name: str) -> Path:
        """A file of an earlier result that the request named.

        Raises:
            KeyError: the request did not name a result of `stage` for this item.
        """
        return result_dir(self._results, self.item.asset_id, stage, self.item.inputs[stage]) / name

    def begin(self) -> None:
        """Make an empty directory to write in, clearing what an interrupted attempt at this task left."""
        shutil.rmtree(self._staging, ignore_errors=True)
        self._staging.mkdir(parents=True)

    def abandon(self) -> None:
        """Leave no trace: another run may find the file as it should be."""
        shutil.rmtree(self._staging)

    def new_file(self, name: str) -> Path:
        """A path to write to; `keep(name)` then makes the file part of the result."""
        return self._staging / name

    def keep(self, name: str) -> None:
        """Flush the file written at `new_file(name)` to disk and list it in the result."""
        with self.new_file(name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size_bytes = file.tell()
            os.fsync(file.fileno())
        self._files[name] = OutputFile(name=name, size_bytes=size_bytes, sha256=digest)

    def write_text(self, name: str, text: str) -> None:
        """Write a whole text file as part of the result."""
        self.new_file(name).write_text(text, encoding="utf-8")
        self.keep(name)

    def write_json(self, name: str, output: BaseModel) -> None:
        """Write an output model as part of the result."""
        self.write_text(name, output.model_dump_json(indent=1))

    def complete_result(self) -> ItemResult | None:
        """An earlier attempt's complete result with this fingerprint, if there is one."""
        return read_result(self.directory)

    def finish(self, stage_version: str, models: tuple[ModelRef, ...], rejection: Rejection | None = None) -> None:
        """Write `result.json` and give the directory its name: from here on the result is complete.

        A rejection keeps no other file. Where another run was faster with the same fingerprint, its
        result stays and this one is dropped: they are the same.
        """
        if rejection:
            self.begin()
            self._files.clear()
        result = ItemResult(
            asset_id=self.item.asset_id,
            stage=self._request.stage,
            stage_version=stage_version,
            fingerprint=self.item.fingerprint,
            status=ResultStatus.REJECTED if rejection else ResultStatus.DONE,
            rejection=rejection,
            variant=self._request.variant,
            compute_type=self._request.compute_type,
            models=models,
            parameters=self._request.parameters,
            inputs=self.item.inputs,
            files=tuple(self._files.values()),
            task=self._request.task,
            finished_at=datetime.now(UTC),
        )
        write_durably(self._staging / RESULT_FILE, result.model_dump_json(indent=1))
        if self.complete_result():
            shutil.rmtree(self._staging)
            return
        shutil.rmtree(self.directory, ignore_errors=True)
        try:
            self._staging.rename(self.directory)
        except OSError:
            if not self.complete_result():
                raise
            shutil.rmtree(self._staging)
        _flush_directory(self.directory.parent)


def write_durably(path: Path, text: str) -> None:
    """Write under a temporary name, flush to disk, rename: readers see all of the file or none."""
    temporary = path.with_name(f".{path.name}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    _flush_directory(path.parent)


def _flush_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
