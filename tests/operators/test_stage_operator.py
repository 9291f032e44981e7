"""A stage's task steps aside and goes on, with a real engine, a real Postgres and a stage that does what films say."""

import hashlib
import os
import secrets
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker
import pytest
from airflow.sdk.exceptions import AirflowException, TaskDeferred
from sqlalchemy import Engine, text

from console.engine import image_id
from operators import right_of_way, stage_operator
from operators.container import STACK_LABEL
from operators.routing import IMAGES
from operators.settings import Folders
from operators.shard import RunFolder, Shard, ShardItem
from operators.stage_container import StageContainer
from operators.stage_operator import StageOperator
from operators.timings import RunOutcome, RunStart, begin_run, finish_run
from operators.urgency import URGENT_DAG_ID
from stage_contract.vocabulary import ItemOutcome, Stage
from tests.simulation.images import SIMULATED_IMAGES, build_simulated_images

SIMULATED = next(image for image in SIMULATED_IMAGES if Stage.PROBE in image.stages)
ITEM_S = 4
"""Long enough that a container is asked during its first item, whose end then comes before the second."""


@pytest.fixture(scope="module", autouse=True)
def image(tmp_path_factory: pytest.TempPathFactory) -> None:
    if image_id(SIMULATED.built_as) is None:
        build_simulated_images([SIMULATED], tmp_path_factory.mktemp("images"))


class Bench:
    """One run of `process_media` over slow films, and the tries of its probe."""

    def __init__(self, database: Engine, folder: Path, stack: str) -> None:
        self.database = database
        self.stack = stack
        self.archive, self.results, self.work = (folder / name for name in ("archive", "results", "work"))
        for made in (self.archive, self.results, self.work):
            made.mkdir()
        roots = {"archive": self.archive}
        self.folders = Folders(roots, self.results, self.work, roots, self.results, self.work)

    def films(self, count: int, dag_id: str = "process_media") -> None:
        """So many films in the run's shard."""
        items = []
        for number in range(count):
            film = self.archive / f"{number}.mp4"
            film.write_text(f"Film {number}\nmedia.probe: sleep {ITEM_S}\n")
            stat = film.stat()
            items.append(
                ShardItem(
                    asset_id=hashlib.sha256(film.read_bytes()).hexdigest(),
                    root="archive",
                    path=film.name,
                    size_bytes=stat.st_size,
                    mtime_ns=stat.st_mtime_ns,
                )
            )
        self.run_folder(dag_id).write_shard(Shard(items=tuple(items), stages=(Stage.PROBE,)))

    def run_folder(self, dag_id: str = "process_media") -> RunFolder:
        return RunFolder(self.work, dag_id, "run")

    def attempt(self, try_number: int = 1, dag_id: str = "process_media") -> tuple[StageOperator, Any]:
        """The operator and its context, as a new process has them."""
        operator = StageOperator(task_id="media_probe", stage=Stage.PROBE, device_policy="cpu", retries=3)
        now = datetime.now(UTC)
        running = SimpleNamespace(
            dag_id=dag_id,
            run_id="run",
            task_id="media_probe",
            map_index=-1,
            try_number=try_number,
            max_tries=3,
            start_date=now,
        )
        dag_run = SimpleNamespace(clear_number=0, start_date=now, run_after=now)
        return operator, {"ti": running, "dag_run": dag_run, "task": operator}

    def begin_urgent(self) -> None:
        started_at = datetime.now(UTC)
        begin_run(self.database, RunStart(URGENT_DAG_ID, "now", {}, started_at, started_at))

    def end_urgent(self) -> None:
        finish_run(self.database, URGENT_DAG_ID, "now", datetime.now(UTC), RunOutcome.DONE)

    def containers(self) -> list[Any]:
        with docker.APIClient() as engine:
            found: list[Any] = engine.containers(all=True, filters={"label": f"{STACK_LABEL}={self.stack}"})
            return found

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.database.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]

    def attempts(self) -> list[tuple[Any, ...]]:
        """Try, outcome, and the items done, reused and left."""
        return self.rows(
            "select try_number, outcome, items_done, items_reused, items_left from stage_attempt "
            "where dag_id = 'process_media' order by try_number"
        )

    def phases(self, phase: str) -> int:
        """How often a phase was recorded."""
        (found,) = self.rows(f"select count(*) from phase_timing where phase = '{phase}'")  # noqa: S608 - ours
        return int(found[0])


@pytest.fixture
def bench(media_database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    stack = f"nightreel-test-{secrets.token_hex(4)}"
    made = Bench(media_database, tmp_path, stack)
    settings = {
        "NIGHTREEL_STACK": stack,
        "NIGHTREEL_DATABASE_URL": media_database.url.render_as_string(hide_password=False),
        "NIGHTREEL_CPU_SLOTS": "2",
        "NIGHTREEL_STAGE_CPUS": "1",
        "NIGHTREEL_STAGE_MEMORY_MIB": "256",
        "NIGHTREEL_STAGE_PIDS": "64",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    # Notes go to nobody.
    monkeypatch.delenv("NIGHTREEL_AIRFLOW_URL", raising=False)
    monkeypatch.setitem(IMAGES, Stage.PROBE, f"simulated-{SIMULATED.name}")
    monkeypatch.setattr(stage_operator, "folders", lambda: made.folders)
    monkeypatch.setattr(right_of_way, "LOOK_EVERY_S", 0.2)
    # Stages run as another user than the tests.
    before = os.umask(0)
    try:
        yield made
    finally:
        os.umask(before)
        with docker.APIClient() as engine:
            for container in made.containers():
                engine.remove_container(container["Id"], force=True)


def stopped_aside(operator: StageOperator, context: Any) -> TaskDeferred:
    """Run the task, which must step aside. Returns how it is to go on."""
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    return deferred.value


def go_on(bench: Bench, deferred: TaskDeferred, try_number: int = 1) -> str:
    """What the task says at its end, as another process that the triggerer has woken."""
    operator, context = bench.attempt(try_number)
    told: str = getattr(operator, str(deferred.method_name))(context, event="there is room", **(deferred.kwargs or {}))
    return told


def test_a_running_stage_steps_aside_after_its_item_and_goes_on_in_the_same_try(bench: Bench) -> None:
    bench.films(2)
    operator, context = bench.attempt()
    threading.Timer(1.5, bench.begin_urgent).start()

    deferred = stopped_aside(operator, context)

    assert bench.attempts() == [(1, "stepped_aside", 1, 0, 1)]
    assert bench.containers() == []
    (message,) = bench.rows("select message from stage_attempt where dag_id = 'process_media'")
    assert "an urgent run is active" in message[0]

    bench.end_urgent()
    go_on(bench, deferred)
    assert bench.attempts() == [(1, "done", 1, 1, 0)]
    assert bench.containers() == []
    assert (bench.phases("probe"), bench.phases("container_start"), bench.phases("aside")) == (2, 2, 1)
    assert bench.phases("queue") == 1
    index = bench.run_folder().read_index(Stage.PROBE)
    assert index is not None
    assert {item.outcome for item in index.items.values()} == {ItemOutcome.DONE, ItemOutcome.REUSED}


def test_a_stage_that_has_not_begun_waits_without_a_container(bench: Bench) -> None:
    bench.films(1)
    bench.begin_urgent()

    deferred = stopped_aside(*bench.attempt())

    assert bench.containers() == []
    assert bench.attempts() == [(1, "stepped_aside", 0, 0, 1)]
    # Should it be cancelled now, what is left is told as left.
    index = bench.run_folder().read_index(Stage.PROBE)
    assert index is not None
    assert {item.outcome for item in index.items.values()} == {ItemOutcome.LEFT}

    bench.end_urgent()
    go_on(bench, deferred)
    assert bench.attempts() == [(1, "done", 1, 0, 0)]


def test_it_waits_again_when_the_room_is_gone_once_more(bench: Bench) -> None:
    bench.films(1)
    bench.begin_urgent()
    deferred = stopped_aside(*bench.attempt())
    with pytest.raises(TaskDeferred):
        go_on(bench, deferred)
    assert bench.attempts() == [(1, "stepped_aside", 0, 0, 1)]
    assert bench.phases("aside") == 1


def test_urgent_work_itself_runs_through(bench: Bench) -> None:
    bench.films(1, URGENT_DAG_ID)
    bench.begin_urgent()
    operator, context = bench.attempt(dag_id=URGENT_DAG_ID)
    operator.execute(context)
    assert bench.rows("select outcome from stage_attempt") == [("done",)]


def test_a_stage_that_somebody_else_asked_aside_waits_too(bench: Bench) -> None:
    bench.films(2)
    operator, context = bench.attempt()
    folder = bench.run_folder().path / "media_probe" / "try-1"
    threading.Timer(2.0, lambda: (folder / "step_aside").touch()).start()

    deferred = stopped_aside(operator, context)

    go_on(bench, deferred)
    assert bench.attempts() == [(1, "done", 1, 1, 0)]


def test_a_container_that_a_dead_try_left_is_joined_and_then_steps_aside(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.films(2)

    def die(*arguments: object) -> None:
        raise AirflowException("the worker died")

    with monkeypatch.context() as dying:
        dying.setattr(StageContainer, "follow", die)
        operator, context = bench.attempt()
        with pytest.raises(AirflowException):
            operator.execute(context)
    assert len(bench.containers()) == 1
    bench.begin_urgent()

    deferred = stopped_aside(*bench.attempt(try_number=2))

    assert bench.attempts() == [(1, "failed", 0, 0, 0), (2, "stepped_aside", 1, 0, 1)]
    bench.end_urgent()
    go_on(bench, deferred, try_number=2)
    assert bench.attempts()[1] == (2, "done", 1, 1, 0)
    # The second container was its own.
    assert bench.rows("select joined_try_number from stage_attempt where try_number = 2") == [(None,)]
