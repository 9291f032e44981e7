"""Where a person finds the pages inside Airflow's UI: in the navigation, as tabs, and behind links."""

from dataclasses import dataclass
from urllib.parse import quote, urlencode

from console.airflow_api import RunState
from tests.ui.person import Place

FRONTS = (
    Place("timings", "/plugin/nightreel-timings"),
    Place("comparison", "/plugin/nightreel-comparison"),
    Place("devices", "/plugin/nightreel-devices"),
    Place("backfill", "/plugin/nightreel-backfill"),
    Place("archive", "/plugin/nightreel-archive"),
)
"""The pages of the navigation."""

STAGE_TASK = "audio_transcribe_cpu"


@dataclass(frozen=True)
class Work:
    """What was done before the pages are looked at.

    Of the run's files one is rejected. `benchmark` is that benchmark's name; `asset_id` is that of a film of the
    backfill in which `spoken` is said.
    """

    run: RunState
    backfill: RunState
    benchmark: str
    asset_id: str
    spoken: str


def places(work: Work) -> tuple[Place, ...]:
    """Every kind of page, with what was recorded of the work."""
    return (*_fronts(work), *_behind_links(work), *_tabs(work.run))


def below(section: str, path: str, query: dict[str, str] | None = None) -> str:
    """The address of any page of ours, shown in the frame of its section."""
    asked = f"?{urlencode(query)}" if query else ""
    return f"/plugin/nightreel-{section}/nightreel/{path}{asked}"


def _fronts(work: Work) -> tuple[Place, ...]:
    words = {
        "timings": (work.run.run_id, "done"),
        "comparison": ("audio.transcribe", "vision.analyze", work.benchmark),
        "devices": ("audio.transcribe", "vision.analyze"),
        "backfill": (work.backfill.run_id,),
        "archive": (".mp4",),
    }
    return tuple(Place(front.name, front.address, words[front.name]) for front in FRONTS)


def _tabs(run: RunState) -> tuple[Place, ...]:
    dag, of_run = f"/dags/{run.dag_id}", f"/dags/{run.dag_id}/runs/{quote(run.run_id, safe='')}"
    task = f"tasks/{STAGE_TASK}"
    return (
        Place("run", f"{of_run}/plugin/nightreel-dag-run", ("container_start", "transcription", "decode")),
        Place("task", f"{dag}/{task}/plugin/nightreel-task", ("transcription",)),
        Place("task_instance", f"{of_run}/{task}/plugin/nightreel-task-instance", ("transcription",)),
    )


def _behind_links(work: Work) -> tuple[Place, ...]:
    asset = f"archive/asset/{work.asset_id}"
    return (
        Place("nights", below("timings", "timings/nights"), ("audio.transcribe", "transcription")),
        Place("benchmark", below("comparison", "comparison/benchmarks/1"), (work.benchmark, "transcription")),
        Place("search", below("archive", "archive", {"q": work.spoken}), (work.spoken,)),
        Place("asset", below("archive", asset), (work.spoken,)),
    )
