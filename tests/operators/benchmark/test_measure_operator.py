"""Containers of a benchmark, with a real engine, a real Postgres and stages that do what films say."""

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
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred
from sqlalchemy import Engine, text

from console.engine import image_id
from operators import right_of_way
from operators.benchmark import measure_operator
from operators.benchmark.conclusion import begin_benchmark, conclude
from operators.benchmark.measure_operator import MeasureOperator, source_of, why_void
from operators.benchmark.plan import BENCHMARK_DAG_ID, BenchmarkPlan, Step, VariantChoice, preparation, steps
from operators.benchmark.records import BenchmarkFolder, StepRecord
from operators.benchmark.store import VariantOutcome
from operators.container import STACK_LABEL
from operators.right_of_way import MustStandAside
from operators.routing import IMAGES
from operators.settings import Folders
from operators.shard import RunFolder, Shard, ShardItem
from operators.stage_container import EndedContainer, StageContainer
from operators.timings import RunOutcome, RunStart, begin_run, finish_run
from operators.urgency import URGENT_DAG_ID
from stage_contract.request import StageRequest
from stage_contract.vocabulary import ExitCode, Phase, Stage
from tests.operators.benchmark.made import FLOAT32, MACHINE, made_plan, phase
from tests.simulation.images import SIMULATED_IMAGES, build_simulated_images

TASK = "measure"


@pytest.fixture(scope="module", autouse=True)
def images(tmp_path_factory: pytest.TempPathFactory) -> None:
    missing = [image for image in SIMULATED_IMAGES if image_id(image.built_as) is None]
    if missing:
        build_simulated_images(missing, tmp_path_factory.mktemp("images"))


class Bench:
    """One run of the benchmark over films that say what becomes of them."""

    def __init__(self, database: Engine, folder: Path, stack: str) -> None:
        self.database, self.stack = database, stack
        self.archive, self.results, self.work = (folder / name for name in ("archive", "results", "work"))
        for made in (self.archive, self.results, self.work):
            made.mkdir()
        roots = {"archive": self.archive}
        self.folders = Folders(roots, self.results, self.work, roots, self.results, self.work)
        self.run_folder = RunFolder(self.work, BENCHMARK_DAG_ID, "run")
        self.folder = BenchmarkFolder(self.run_folder)

    def begin(self, plan: BenchmarkPlan, *films: str) -> None:
        """As `find_assets` leaves it. Each film is the text that says what becomes of it."""
        now = datetime.now(UTC)
        begin_run(self.database, RunStart(BENCHMARK_DAG_ID, "run", {}, now, now))
        items = []
        for number, film in enumerate(films or ("A tape of the harbour",)):
            path = self.archive / f"{number}.mp4"
            path.write_text(f"{film}\n")
            stat = path.stat()
            asset_id = hashlib.sha256(path.read_bytes()).hexdigest()
            items.append(
                ShardItem(
                    asset_id=asset_id,
                    root="archive",
                    path=path.name,
                    size_bytes=stat.st_size,
                    mtime_ns=stat.st_mtime_ns,
                )
            )
        shard = Shard(items=tuple(items), stages=plan.stages)
        self.run_folder.write_shard(shard)
        begin_benchmark(self.database, self.folder, plan, shard, MACHINE, (BENCHMARK_DAG_ID, "run"))

    def attempt(self, try_number: int = 1) -> tuple[MeasureOperator, Any]:
        """The operator and its context, as a new process has them."""
        operator = MeasureOperator(task_id=TASK)
        running = SimpleNamespace(
            dag_id=BENCHMARK_DAG_ID, run_id="run", task_id=TASK, map_index=-1, try_number=try_number
        )
        return operator, {"ti": running, "task": operator}

    def measure(self, try_number: int = 1) -> str:
        operator, context = self.attempt(try_number)
        return operator.execute(context)

    def records(self, plan: BenchmarkPlan) -> list[StepRecord]:
        return [record for step in steps(plan) if (record := self.folder.read_step(step))]

    def containers(self) -> list[Any]:
        with docker.APIClient() as engine:
            found: list[Any] = engine.containers(all=True, filters={"label": f"{STACK_LABEL}={self.stack}"})
            return found


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
    for image in SIMULATED_IMAGES:
        for stage in image.stages:
            monkeypatch.setitem(IMAGES, stage, f"simulated-{image.name}")
    monkeypatch.setattr(measure_operator, "folders", lambda: made.folders)
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


def test_every_round_computes_and_nothing_is_left_behind(bench: Bench) -> None:
    plan = made_plan(repeats=1)
    bench.begin(plan)

    bench.measure()

    records = bench.records(plan)
    assert [(one.round, one.variant) for one in records] == [(0, 0), (0, 1), (1, 1), (1, 0)]
    assert [one.compute_type for one in records] == ["float32", "int8", "int8", "float32"]
    assert all(any(phase.phase is Phase.TRANSCRIPTION for phase in one.phases) for one in records)
    # A result each, under names of their own; none where production has its own.
    names = [name for one in records for name in one.results.values()]
    assert len(set(names)) == len(names) == 4
    assert list(bench.results.iterdir()) == []
    assert bench.containers() == []
    request = StageRequest.model_validate_json((bench.folder.attempt(steps(plan)[0]) / "request.json").read_bytes())
    assert (request.compute_type, request.smaller_compute_type, request.device) == ("float32", None, "cpu")
    found = conclude(bench.database, bench.folder, BENCHMARK_DAG_ID, "run")
    assert [one.outcome for one in found.measured.variants] == [VariantOutcome.MEASURED] * 2
    assert all(check.is_passed for check in found.measured.checks)
    with bench.database.connect() as connection:
        assert connection.execute(text("select count(*) from stage_attempt")).scalar_one() == 0


def test_names_are_found_in_what_the_same_variant_heard_in_the_same_round(bench: Bench) -> None:
    plan = made_plan(VariantChoice(name="names", stages=(Stage.TRANSCRIBE, Stage.ENRICH)), repeats=1)
    bench.begin(plan)
    bench.measure()
    heard = {one.round: one.results for one in bench.records(plan) if one.stage is Stage.TRANSCRIBE}
    for step in steps(plan):
        if step.stage is Stage.ENRICH:
            told = (bench.folder.attempt(step) / "request.json").read_bytes()
            (item,) = StageRequest.model_validate_json(told).items
            assert item.inputs == {Stage.TRANSCRIBE: heard[step.round][item.asset_id]}


def test_a_retry_goes_on_after_the_last_container_that_ended(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = made_plan(repeats=1)
    bench.begin(plan)
    follow, calls = StageContainer.follow, []

    def die_at_fifth(self: StageContainer, *arguments: Any) -> EndedContainer:
        calls.append(self)
        if len(calls) == 5:
            raise AirflowException("the worker died")
        return follow(self, *arguments)

    monkeypatch.setattr(StageContainer, "follow", die_at_fifth)
    with pytest.raises(AirflowException):
        bench.measure()
    before = bench.records(plan)

    bench.measure(try_number=2)

    after = bench.records(plan)
    assert (len(before), len(after)) == (2, 4)
    assert after[:2] == before
    assert len(calls) == 2 + 4 + 1
    assert bench.containers() == []


def test_a_variant_that_fails_is_not_tried_again_and_the_others_go_on(bench: Bench) -> None:
    vision = VariantChoice(name="pictures", stages=(Stage.ANALYZE,))
    plan = made_plan(FLOAT32, vision, repeats=1)
    bench.begin(plan, "A tape of the harbour\nvision.analyze: crash")
    bench.measure()
    records = bench.records(plan)
    assert [(one.variant, one.round, bool(one.failure)) for one in records] == [
        (0, 0, False),
        (1, 0, True),
        (0, 1, False),
    ]
    found = conclude(bench.database, bench.folder, BENCHMARK_DAG_ID, "run")
    assert [one.outcome for one in found.measured.variants] == [VariantOutcome.MEASURED, VariantOutcome.FAILED]


def test_an_image_that_is_missing_fails_its_variant_with_the_remedy(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(IMAGES, Stage.ANALYZE, "never-built")
    plan = made_plan(VariantChoice(name="pictures", stages=(Stage.ANALYZE,)), repeats=1)
    bench.begin(plan)
    bench.measure()
    (record,) = bench.records(plan)
    assert "nightreel/never-built:cpu: it is missing; build it with `make images`" in record.failure


def test_media_that_cannot_be_prepared_fail_the_task(bench: Bench) -> None:
    bench.begin(made_plan(repeats=1), "A tape of the harbour\nmedia.extract: reject no_audio")
    with pytest.raises(AirflowFailException, match="must be prepared"):
        bench.measure()
    assert bench.containers() == []


def test_it_makes_room_for_urgent_work_and_measures_anew_what_was_interrupted(bench: Bench) -> None:
    plan = made_plan(repeats=1)
    lazy = "audio.transcribe: sleep 3"
    bench.begin(plan, f"One film\n{lazy}", f"Another film\n{lazy}")
    now = datetime.now(UTC)

    def begin_urgent() -> None:
        while not list((bench.folder.path / "containers").glob("00.0.*/current_item")):
            threading.Event().wait(0.1)
        begin_run(bench.database, RunStart(URGENT_DAG_ID, "now", {}, now, now))

    urgent = threading.Thread(target=begin_urgent)
    urgent.start()
    operator, context = bench.attempt()
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    urgent.join()
    assert bench.records(plan) == []
    assert bench.containers() == []
    # Preparation stays.
    assert all(bench.folder.read_step(step) for step in preparation(plan))

    finish_run(bench.database, URGENT_DAG_ID, "now", datetime.now(UTC), RunOutcome.DONE)
    operator, context = bench.attempt()
    getattr(operator, str(deferred.value.method_name))(context, event="there is room")
    assert len(bench.records(plan)) == 4
    assert all(len(one.results) == 2 for one in bench.records(plan))


ENDED = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("code", "out_of_memory", "error"),
    [
        (ExitCode.STEPPED_ASIDE, False, MustStandAside),
        (ExitCode.TRANSIENT, False, AirflowException),
        (137, False, AirflowException),
    ],
)
def test_what_is_the_systems_fault_is_tried_again(code: int, out_of_memory: bool, error: type[Exception]) -> None:
    with pytest.raises(error):
        why_void(EndedContainer(code, ENDED, out_of_memory), (), "told")


@pytest.mark.parametrize(
    ("code", "out_of_memory"),
    [(ExitCode.BUG, False), (ExitCode.DEVICE_FAILED, False), (ExitCode.ALL_REJECTED, False), (137, True)],
)
def test_what_is_the_variants_fault_is_told_of_it(code: int, out_of_memory: bool) -> None:
    assert why_void(EndedContainer(code, ENDED, out_of_memory), (), "told") == "told"


def test_a_stage_that_had_to_retreat_was_not_measured_as_asked() -> None:
    loads = (phase(Phase.MODEL_LOAD, 1), phase(Phase.MODEL_LOAD, 1))
    assert "not measured as asked" in why_void(EndedContainer(0, ENDED, False), loads, "out of memory at batch 16")
    assert why_void(EndedContainer(0, ENDED, False), loads[:1], "1 done") == ""


def test_inputs_come_from_the_preparation_or_from_the_same_variant_and_round() -> None:
    step = Step(Stage.ENRICH, 1, 3)
    assert source_of(step, Stage.TRANSCRIBE) == Step(Stage.TRANSCRIBE, 1, 3)
    assert source_of(Step(Stage.ANALYZE, 1, 3), Stage.PROBE) == Step(Stage.PROBE, None, 0)
