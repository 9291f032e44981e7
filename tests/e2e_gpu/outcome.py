"""What a run on the simulated host came to: which branch, why, and where that is to be read."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from console.airflow_api import RunState
from tests.e2e_gpu.conftest import GpuDeployment

TOLD_AT_LEAST = 150
VISION = ["vision.analyze"]
CHOICES = """
select stage, branch, reason, waited_s, policy, devices from device_choice
where dag_id = :dag_id and run_id = :run_id
"""
ATTEMPTS = """
select a.task_id, a.try_number, a.outcome, a.device, a.exit_code, a.message, a.items_done, a.items_reused, a.items_left,
    a.lease_id, l.device_uuid, l.ending
from stage_attempt as a
left join gpu_lease as l using (lease_id)
where a.dag_id = :dag_id and a.run_id = :run_id
order by a.started_at
"""
FILES = "select path, outcome, message from run_item where dag_id = :dag_id and run_id = :run_id order by path"

TIMED = """
select distinct device from phase_report
where dag_id = :dag_id and run_id = :run_id and stage = 'vision.analyze' and phase = 'detection'
"""


@dataclass(frozen=True)
class Outcome:
    """A run of vision.analyze that has ended. `timed` are the devices whose work has its phases."""

    state: str
    states: dict[str, str | None]
    choice: dict[str, Any]
    attempts: dict[str, dict[str, Any]]
    files: list[dict[str, Any]]
    timed: set[str]
    run_note: str
    task_notes: dict[str, str]

    @property
    def branch(self) -> str:
        return str(self.choice["branch"])

    @property
    def reason(self) -> str:
        return str(self.choice["reason"])

    @property
    def on_gpu(self) -> dict[str, Any]:
        """The last attempt of the GPU's task."""
        return self.attempts["vision_analyze_gpu"]

    @property
    def on_cpu(self) -> dict[str, Any]:
        """The last attempt of the CPU's task."""
        return self.attempts["vision_analyze_cpu"]


def analyze(deployment: GpuDeployment, *films: str, **choices: Any) -> Outcome:
    """Run vision.analyze over these films, wait for its end, and see what it came to."""
    return outcome_of(deployment, deployment.run(*films, stages=VISION, **choices))


def outcome_of(deployment: GpuDeployment, run: RunState) -> Outcome:
    """What the ended run came to. Wherever a choice was made its reason must be readable."""
    (choice,) = [row for row in deployment.run_rows(CHOICES, run) if row["stage"] == "vision.analyze"]
    path = f"/api/v2/dags/{run.dag_id}/dagRuns/{quote(run.run_id)}"
    tasks = deployment.api._send("GET", f"{path}/taskInstances", params={"limit": 100})["task_instances"]
    outcome = Outcome(
        state=run.state,
        states={task["task_id"]: task["state"] for task in tasks},
        choice=choice,
        attempts={row["task_id"]: row for row in deployment.run_rows(ATTEMPTS, run)},
        files=deployment.run_rows(FILES, run),
        timed={row["device"] for row in deployment.run_rows(TIMED, run)},
        run_note=deployment.note(run),
        task_notes={task["task_id"]: task["note"] or "" for task in tasks},
    )
    assert is_told(outcome.reason, outcome.run_note)
    assert outcome.task_notes["vision_gpu_health"] == outcome.reason
    return outcome


def is_told(text: str, note: str) -> bool:
    """Whether the note has these words, or their beginning where it has not the room for all."""
    return " ".join(text.split())[:TOLD_AT_LEAST] in note


def assert_done_on_the_cpu(outcome: Outcome) -> None:
    """The whole run went to the CPU, and is green."""
    assert outcome.branch == "cpu", outcome.reason
    assert outcome.state == "success", outcome.states
    assert outcome.states["vision_analyze_gpu"] == "skipped"
    assert outcome.states["vision_analyze_cpu"] == "success"
    assert outcome.on_cpu["device"] == "cpu"
    assert {file["outcome"] for file in outcome.files} == {"done"}


def assert_done_on_a_gpu(outcome: Outcome, *devices: str) -> None:
    """The whole run went to one of these devices, and is green."""
    assert outcome.branch == "gpu", outcome.reason
    assert outcome.state == "success", outcome.states
    assert outcome.states["vision_analyze_gpu"] == "success", outcome.on_gpu
    assert outcome.states["vision_analyze_cpu"] == "skipped"
    assert outcome.on_gpu["device"] in devices
    assert outcome.on_gpu["device"] == outcome.on_gpu["device_uuid"]
    assert outcome.on_gpu["ending"] == "released"
    assert {file["outcome"] for file in outcome.files} == {"done"}


def assert_the_cpu_took_the_rest(outcome: Outcome, done_on_gpu: int, left: int) -> None:
    """The GPU's task is red, what it finished is kept, the CPU did the rest, and the run is green."""
    assert outcome.branch == "gpu", outcome.reason
    assert outcome.state == "success", outcome.states
    assert outcome.states["vision_analyze_gpu"] == "failed"
    assert outcome.states["vision_analyze_cpu"] == "success"
    assert (outcome.on_gpu["items_done"], outcome.on_gpu["items_left"]) == (done_on_gpu, left), outcome.on_gpu
    assert (outcome.on_cpu["items_reused"], outcome.on_cpu["items_done"]) == (done_on_gpu, left), outcome.on_cpu
    assert outcome.on_gpu["outcome"] == "device_failed"
    assert outcome.timed == ({"cpu", outcome.on_gpu["device"]} if done_on_gpu else {"cpu"})
    assert is_told(outcome.on_gpu["message"], outcome.run_note)
    assert is_told(outcome.on_gpu["message"], outcome.task_notes["vision_analyze_gpu"])
    assert {file["outcome"] for file in outcome.files} == {"done"}
