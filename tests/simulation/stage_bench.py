"""Runs a simulated stage on a simulated host, with the flags that the operator gives a container."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import docker
from pydantic import JsonValue

from operators.container import CPU, STAGE_USER, environment, gpu_request, mounts, restrictions
from operators.routing import image_for
from operators.settings import Folders
from stage_contract.phases import PHASES_FILE, read_phases
from stage_contract.request import StageRequest
from stage_contract.result import OUTCOME_FILE, StageOutcome
from stage_contract.vocabulary import Stage, Variant
from tests.simulation.host import SimulatedHost
from tests.stage_container import Finished, Source, StageBench


class SimulatedStageBench(StageBench):
    """A deployment's folders, and the simulated stages that work on them."""

    def __init__(self, host: SimulatedHost, root: Path) -> None:
        super().__init__(root)
        self._host = host
        self._root = root
        self._attempts = 0

    def film(self, name: str, *lines: str) -> str:
        """Put a media file with these lines into the archive; returns its path below it."""
        path = self.archive / name
        path.write_text("\n".join([f"The film {name}", *lines]))
        path.chmod(0o644)
        return name

    def on_gpu(
        self,
        stage: Stage,
        sources: list[Source],
        device: str,
        need_mib: int = 2304,
        parameters: Mapping[str, JsonValue] | None = None,
    ) -> StageRequest:
        """A request for the stage's cuda build on one device, 16 pictures or windows at a time."""
        request = self.request(stage, sources, parameters or {}, Variant.CUDA)
        return request.model_copy(update={"device": device, "need_mib": need_mib, "batch_size": 16})

    def run_simulated(self, request: StageRequest, meanwhile: Callable[[], None] | None = None) -> Finished:
        """Run the stage to its end. `meanwhile` is called once the container runs.

        Raises:
            docker.errors.APIError: the container could not be started.
        """
        self._attempts += 1
        attempt = self._root / "work" / f"simulated-{self._attempts}"
        for folder in (attempt, *(self.results / "assets" / i.asset_id / request.stage for i in request.items)):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)
        (attempt / "request.json").write_text(request.model_dump_json())
        exit_code, log = self._run_container(request, attempt, meanwhile)
        assert (attempt / OUTCOME_FILE).exists(), log
        outcome = StageOutcome.model_validate_json((attempt / OUTCOME_FILE).read_bytes())
        phases = tuple(read_phases(attempt / PHASES_FILE))
        return Finished(request, self.results, exit_code, log, outcome, phases)

    def _run_container(
        self, request: StageRequest, attempt: Path, meanwhile: Callable[[], None] | None
    ) -> tuple[int, str]:
        roots = {"archive": self.archive, "inbox": self._root / "inbox"}
        work = attempt.parent
        folders = Folders(roots, self.results, work, roots, self.results, work)
        client = docker.APIClient(base_url=f"unix://{self._host.engine.socket}")
        container = client.create_container(
            image=image_for(request.stage, request.variant),
            command=["--request", "/work/request.json"],
            user=STAGE_USER,
            environment=environment(self.limits),
            host_config=client.create_host_config(
                mounts=mounts(folders, attempt.name, request.stage, request.items),
                device_requests=gpu_request(request.device if request.variant is Variant.CUDA else CPU),
                **restrictions(self.limits),
            ),
        )["Id"]
        try:
            client.start(container)
            if meanwhile:
                threading.Timer(1.0, meanwhile).start()
            exit_code = int(client.wait(container, timeout=60)["StatusCode"])
            log = client.logs(container).decode(errors="replace")
        finally:
            client.remove_container(container, force=True)
            client.close()
        return exit_code, log
