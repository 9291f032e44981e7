"""Runs stage images as the operator does: flags, mounts, user and image come from the operator's own modules."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import docker
from docker.types import Mount
from pydantic import BaseModel, JsonValue

from operators.container import STAGE_USER, environment, mounts, restrictions
from operators.routing import image_for
from operators.settings import ContainerLimits, Folders
from operators.stage_plan import full_parameters
from stage_contract.fingerprint import fingerprint
from stage_contract.models import MODELS_DIR
from stage_contract.phases import PHASES_FILE, PhaseRecord, read_phases
from stage_contract.request import RequestItem, StageRequest, TaskKey
from stage_contract.resources import DEFAULT_COMPUTE_TYPE, default_batch_size
from stage_contract.result import OUTCOME_FILE, ItemResult, StageOutcome, read_result, result_dir
from stage_contract.vocabulary import Phase, Stage, Variant

LIMITS = ContainerLimits(cpus=2, memory_mib=2048, pids=256)
DEADLINE_S = 600
ABSENT_DEVICE = "GPU-00000000-0000-0000-0000-000000000000"
"""What a request for the cuda variant names; the containers get no GPU."""

Output = TypeVar("Output", bound=BaseModel)


@dataclass(frozen=True)
class Ended:
    """How a container ended."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Source:
    """An asset for a stage: its file below the archive, and the earlier results that the stage reads."""

    asset_id: str
    path: str
    inputs: Mapping[Stage, str]
    size_bytes: int = 1
    mtime_ns: int = 1


@dataclass(frozen=True)
class Finished:
    """What one stage container left. Its items are named by asset id, or by path below the archive."""

    request: StageRequest
    results: Path
    exit_code: int
    log: str
    outcome: StageOutcome
    phases: tuple[PhaseRecord, ...]

    def item(self, name: str) -> RequestItem:
        (item,) = [item for item in self.request.items if name in (item.asset_id, item.source.split("/", 1)[1])]
        return item

    def directory(self, name: str) -> Path:
        item = self.item(name)
        return result_dir(self.results, item.asset_id, self.request.stage, item.fingerprint)

    def result(self, name: str) -> ItemResult:
        result = read_result(self.directory(name))
        assert result is not None, f"{name} has no complete result: {self.log}"
        return result

    def output(self, name: str, file: str, model: type[Output]) -> Output:
        return model.model_validate_json((self.directory(name) / file).read_bytes())

    def phase(self, phase: Phase, name: str | None = None) -> PhaseRecord:
        """The one line of a phase, of an item or of the whole container."""
        asset_id = self.item(name).asset_id if name else None
        (record,) = [record for record in self.phases if record.phase is phase and record.asset_id == asset_id]
        return record


class StageBench:
    """The folders of a deployment below `root`, and the stage containers that work on them."""

    def __init__(self, root: Path, archive: Path | None = None, limits: ContainerLimits = LIMITS) -> None:
        self.archive = archive or root / "archive"
        self.results = root / "results"
        self.limits = limits
        self._inbox, self._work = root / "inbox", root / "work"
        self._containers = 0
        for folder in (self.archive, self.results, self._inbox, self._work):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)

    def source(self, path: str, *earlier: Finished) -> Source:
        """A real file of the archive, and what earlier stages made of it."""
        file = self.archive / path
        stat = file.stat()
        inputs = {done.request.stage: done.item(path).fingerprint for done in earlier}
        with file.open("rb") as content:
            asset_id = hashlib.file_digest(content, "sha256").hexdigest()
        return Source(asset_id, path, inputs, stat.st_size, stat.st_mtime_ns)

    def place(self, asset_id: str, stage: Stage, name: str) -> tuple[str, Path]:
        """Where a test puts a file of an earlier stage's result. Returns the result's fingerprint as well."""
        made_up = fingerprint(stage, "test", (), "none", {}, {})
        directory = result_dir(self.results, asset_id, stage, made_up)
        directory.mkdir(parents=True, exist_ok=True)
        return made_up, directory / name

    def request(
        self,
        stage: Stage,
        sources: Sequence[Source],
        parameters: Mapping[str, JsonValue],
        variant: Variant = Variant.CPU,
        compute_type: str | None = None,
    ) -> StageRequest:
        compute_type = compute_type or DEFAULT_COMPUTE_TYPE[stage, variant]
        full = full_parameters(stage, parameters)
        items = tuple(
            RequestItem(
                asset_id=source.asset_id,
                source=f"archive/{source.path}",
                size_bytes=source.size_bytes,
                mtime_ns=source.mtime_ns,
                fingerprint=fingerprint(stage, "1", (), compute_type, full, source.inputs),
                inputs=dict(source.inputs),
            )
            for source in sources
        )
        return StageRequest(
            stage=stage,
            task=TaskKey(dag_id="process_media", run_id="test", task_id=stage.replace(".", "_"), try_number=1),
            variant=variant,
            device="cpu" if variant is Variant.CPU else ABSENT_DEVICE,
            compute_type=compute_type,
            batch_size=default_batch_size(stage, variant),
            parameters=full,
            submitted_at=datetime.now(UTC),
            items=items,
        )

    def run(
        self,
        request: StageRequest,
        models: Path | None = None,
        program: Path | None = None,
        image: str | None = None,
    ) -> Finished:
        """Run the stage's CPU image, or `image`, on a request. `models` and `program` replace the image's own."""
        self._containers += 1
        attempt = self._work / str(self._containers)
        for folder in (attempt, *(self.results / "assets" / i.asset_id / request.stage for i in request.items)):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)
        (attempt / "request.json").write_text(request.model_dump_json())
        roots = {"archive": self.archive, "inbox": self._inbox}
        folders = Folders(roots, self.results, self._work, roots, self.results, self._work)
        volumes = mounts(folders, attempt.name, request.stage, request.items)
        if models:
            volumes.append(read_only(models, str(MODELS_DIR)))
        image, command = image or image_for(request.stage, Variant.CPU), ["--request", "/work/request.json"]
        if program:
            volumes.append(read_only(program, "/program.py"))
            command = ["/program.py", *command]
        entrypoint = "python" if program else None
        ended = _run(image, command, volumes, self.limits, user=STAGE_USER, entrypoint=entrypoint)
        log = ended.stdout + ended.stderr
        assert (attempt / OUTCOME_FILE).exists(), log
        outcome = StageOutcome.model_validate_json((attempt / OUTCOME_FILE).read_bytes())
        assert outcome.exit_code == ended.exit_code, log
        return Finished(
            request=request,
            results=self.results,
            exit_code=ended.exit_code,
            log=log,
            outcome=outcome,
            phases=tuple(read_phases(attempt / PHASES_FILE)),
        )


def run_program(image: str, command: Sequence[str], *volumes: Mount, **variables: str) -> Ended:
    """Run another program in a stage image, under the same restrictions; what it writes is the tester's own."""
    user = f"{os.getuid()}:{os.getgid()}"
    return _run(image, command[1:], volumes, LIMITS, user=user, entrypoint=command[0], variables=variables)


def read_only(path: Path, seen_as: str) -> Mount:
    return Mount(seen_as, str(path), type="bind", read_only=True)


def writable(path: Path, seen_as: str) -> Mount:
    return Mount(seen_as, str(path), type="bind")


def image_label(image: str, name: str) -> str:
    with _engine() as engine:
        label: str = engine.inspect_image(image)["Config"]["Labels"][name]
        return label


def image_user(image: str) -> str:
    with _engine() as engine:
        user: str = engine.inspect_image(image)["Config"]["User"]
        return user


@contextmanager
def _engine() -> Iterator[Any]:
    client = docker.from_env(timeout=DEADLINE_S)
    try:
        yield client.api
    finally:
        client.close()


def _run(
    image: str,
    command: Sequence[str],
    volumes: Sequence[Mount],
    limits: ContainerLimits,
    *,
    user: str,
    entrypoint: str | None = None,
    variables: Mapping[str, str] | None = None,
) -> Ended:
    with _engine() as engine:
        container = engine.create_container(
            image=image,
            command=list(command),
            entrypoint=entrypoint,
            user=user,
            environment=environment(limits) | dict(variables or {}),
            host_config=engine.create_host_config(mounts=list(volumes), **restrictions(limits)),
        )["Id"]
        try:
            engine.start(container)
            exit_code = int(engine.wait(container, timeout=DEADLINE_S)["StatusCode"])
            stdout, stderr = (
                engine.logs(container, stdout=out, stderr=not out).decode(errors="replace") for out in (True, False)
            )
        finally:
            engine.remove_container(container, force=True)
    return Ended(exit_code, stdout, stderr)
