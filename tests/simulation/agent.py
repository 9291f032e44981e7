"""What can become of the GPU agent of a simulated deployment."""

import time
import urllib.request
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from console.compose import docker_compose
from console.engine import docker
from console.gpu import AGENT
from console.settings import Settings
from stage_contract.gpu_health import HostHealth

ANSWER_WITHIN_S = 5.0
BACK_WITHIN_S = 30.0
NONSENSE_IMAGE = "nightreel/base:cpu"
NONSENSE_SERVER = """
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"verdict": "splendid", "devices": "all of them"}).encode())
http.server.HTTPServer(("", 9410), Handler).serve_forever()
"""


@dataclass(frozen=True)
class AgentControl:
    """The agent of a deployment. After anything was done to it, `restore` makes it well."""

    settings: Settings

    def health(self) -> HostHealth:
        """What it tells now.

        Raises:
            OSError: it does not answer.
            ValueError: it answers nonsense.
        """
        return HostHealth.model_validate_json(self._ask("health"))

    def watched_gpus(self) -> set[str]:
        """UUIDs of the GPUs whose Xid events it watches now; an event is told to nobody before that."""
        families = text_string_to_metric_families(self._ask("metrics"))
        watch = next(family for family in families if family.name == "nightreel_gpu_xid_watch")
        return {sample.labels["gpu"] for sample in watch.samples if sample.value == 1}

    def stop(self) -> None:
        """It is down."""
        docker_compose(self.settings, "stop", "--timeout", "1", AGENT)

    def freeze(self) -> None:
        """It takes connections and answers none."""
        docker_compose(self.settings, "pause", AGENT)

    def talk_nonsense(self) -> None:
        """Something else answers under its name."""
        self.stop()
        project = f"com.docker.compose.project={self.settings.project}"
        docker(
            *("run", "--detach", "--rm", "--init", "--name", self._impostor, "--label", project),
            *("--network", f"{self.settings.project}_services", "--network-alias", AGENT),
            *(NONSENSE_IMAGE, "python", "-c", NONSENSE_SERVER),
        )

    def restore(self) -> None:
        """It runs and answers by itself. Docker's own idea of its health comes later: it looks every few seconds."""
        self.remove_impostor()
        if docker_compose(self.settings, "ps", "--quiet", "--status", "paused", AGENT):
            docker_compose(self.settings, "unpause", AGENT)
        docker_compose(self.settings, "up", "--detach", "--no-deps", AGENT)
        deadline_s = time.monotonic() + BACK_WITHIN_S
        while True:
            try:
                self.health()
                return
            except (OSError, ValueError):
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.2)

    def remove_impostor(self) -> None:
        """What talked nonsense is gone."""
        if docker("ps", "--all", "--quiet", "--filter", f"name=^{self._impostor}$"):
            docker("rm", "--force", self._impostor)

    def _ask(self, page: str) -> str:
        url = f"http://127.0.0.1:{self.settings.gpu_agent_port}/{page}"
        with urllib.request.urlopen(url, timeout=ANSWER_WITHIN_S) as answer:
            text: str = answer.read().decode()
            return text

    @property
    def _impostor(self) -> str:
        return f"{self.settings.project}-agent-impostor"
