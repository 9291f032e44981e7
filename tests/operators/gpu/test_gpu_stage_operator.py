"""A GPU task that steps aside before it has a device."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from operators.attempt import Attempt
from operators.container import ContainerIdentity
from operators.gpu.gpu_stage_operator import GpuStageOperator
from operators.gpu.lease import ask
from operators.right_of_way import MustStandAside, RightOfWay
from operators.routing import DevicePolicy
from operators.settings import Folders
from operators.shard import RunFolder
from operators.stage_container import StageContainer
from operators.stage_operator import Work
from operators.timings import AttemptDetails, RunStart, begin_attempt, begin_run, describe_attempt
from operators.urgency import URGENT_DAG_ID
from operators.urgency_store import Asker
from stage_contract.vocabulary import Stage, Variant
from tests.operators.gpu.samples import NOW, configuration, request, task


@pytest.fixture
def work(media_database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    monkeypatch.setenv("NIGHTREEL_DATABASE_URL", media_database.url.render_as_string(hide_password=False))
    monkeypatch.setenv("NIGHTREEL_CPU_SLOTS", "2")
    key = task()
    begin_attempt(media_database, key, Stage.TRANSCRIBE, NOW)
    describe_attempt(media_database, key, AttemptDetails(variant=Variant.CUDA))
    attempt = Attempt(key)
    identity = ContainerIdentity("nightreel-test", key)
    operator = GpuStageOperator(task_id=key.task_id, stage=Stage.TRANSCRIBE, hands_over_to="audio_transcribe_cpu")
    return Work(
        attempt,
        identity,
        Folders({}, tmp_path, tmp_path, {}, tmp_path, tmp_path),
        RunFolder(tmp_path, key.dag_id, key.run_id),
        StageContainer(operator.cli, identity),
        RightOfWay(attempt.database, Asker(key, Stage.TRANSCRIBE, Variant.CUDA)),
    )


def test_a_task_that_waits_for_a_lease_gives_its_place_back_to_urgent_work(media_database: Engine, work: Work) -> None:
    lease_id = ask(media_database, request())
    begin_run(media_database, RunStart(URGENT_DAG_ID, "now", {}, NOW, NOW))
    operator = GpuStageOperator(task_id="audio_transcribe_gpu", stage=Stage.TRANSCRIBE, hands_over_to="cpu")

    with pytest.raises(MustStandAside, match="urgent run is active"):
        operator._wait_for_grant(work, configuration(8192), DevicePolicy.GPU, lease_id, None)

    with media_database.connect() as connection:
        assert connection.execute(text("select ending from gpu_lease")).scalar_one() == "withdrawn"
