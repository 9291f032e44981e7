from datetime import UTC, datetime

import pytest

from operators.shard import Shard, ShardItem, StageIndex, StageItem
from operators.stage_plan import (
    Action,
    AttemptOutcome,
    StageChoice,
    StageImage,
    StagePlan,
    after_container,
    full_parameters,
    judge,
    plan_stage,
    set_aside_killers,
)
from stage_contract.request import RequestItem, StageRequest, TaskKey
from stage_contract.result import ItemReport, Rejection, StageOutcome
from stage_contract.vocabulary import ExitCode, ItemOutcome, Reason, Stage, Variant
from stage_contract.workspace import ItemWorkspace

IDS = [digit * 64 for digit in "abc"]
IMAGE = StageImage("nightreel/media:cpu", "sha256:1", "1", ())
CHOICE = StageChoice(Stage.PROBE, "none", full_parameters(Stage.PROBE, {}))
TASK = TaskKey(dag_id="d", run_id="r", task_id="t", try_number=1)


@pytest.fixture
def shard():
    return Shard(items=tuple(ShardItem(asset_id=i, root="archive", path="a", size_bytes=1, mtime_ns=1) for i in IDS))


def write_result(results, item: RequestItem, stage=Stage.PROBE, rejection=None):
    request = StageRequest(
        stage=stage,
        task=TASK,
        variant=Variant.CPU,
        compute_type="none",
        parameters={},
        submitted_at=datetime.now(UTC),
        items=(item,),
    )
    workspace = ItemWorkspace(request, item, results, results)
    workspace.begin()
    workspace.finish("1", (), rejection)


def test_a_complete_result_is_not_asked_for_again(tmp_path, shard):
    first = plan_stage(tmp_path, shard, {}, CHOICE, IMAGE)
    assert [item.asset_id for item in first.waiting] == IDS
    write_result(tmp_path, first.waiting[0])
    write_result(tmp_path, first.waiting[1], rejection=Rejection(reason=Reason.EMPTY, message="no bytes"))

    second = plan_stage(tmp_path, shard, {}, CHOICE, IMAGE)
    assert [item.asset_id for item in second.waiting] == IDS[2:]
    assert second.complete[IDS[0]].outcome is ItemOutcome.REUSED
    assert second.complete[IDS[1]] == StageItem(
        fingerprint=first.waiting[1].fingerprint, outcome=ItemOutcome.REJECTED, reason=Reason.EMPTY, message="no bytes"
    )


def test_another_stage_version_or_parameter_asks_again(tmp_path, shard):
    first = plan_stage(tmp_path, shard, {}, CHOICE, IMAGE).waiting[0]
    write_result(tmp_path, first)
    newer = StageImage(IMAGE.name, IMAGE.digest, "2", ())
    shorter = StageChoice(Stage.PROBE, "none", full_parameters(Stage.PROBE, {"max_duration_s": 60}))
    assert len(plan_stage(tmp_path, shard, {}, CHOICE, newer).waiting) == 3
    assert len(plan_stage(tmp_path, shard, {}, shorter, IMAGE).waiting) == 3


def test_assets_without_a_usable_input_are_left_out(tmp_path, shard):
    fingerprint = "1" * 24
    probed = StageIndex(
        stage=Stage.PROBE,
        items={
            IDS[0]: StageItem(fingerprint=fingerprint, outcome=ItemOutcome.DONE),
            IDS[1]: StageItem(fingerprint=fingerprint, outcome=ItemOutcome.REJECTED),
        },
    )
    choice = StageChoice(Stage.EXTRACT, "none", full_parameters(Stage.EXTRACT, {}))
    plan = plan_stage(tmp_path, shard, {Stage.PROBE: probed}, choice, IMAGE)
    assert [(item.asset_id, item.inputs) for item in plan.waiting] == [(IDS[0], {Stage.PROBE: fingerprint})]


def test_an_item_that_killed_the_process_goes_last_then_is_given_up(tmp_path, shard):
    plan = plan_stage(tmp_path / "results", shard, {}, CHOICE, IMAGE)
    task = tmp_path / "task"

    def die(number):
        (task / f"try-{number}").mkdir(parents=True)
        (task / f"try-{number}" / "current_item").write_text(IDS[0])

    die(1)
    later, given_up = set_aside_killers(plan, task)
    assert [item.asset_id for item in later.waiting] == [IDS[1], IDS[2], IDS[0]]
    assert not given_up
    die(2)
    later, given_up = set_aside_killers(plan, task)
    assert [item.asset_id for item in later.waiting] == [IDS[1], IDS[2]]
    assert given_up[IDS[0]].outcome is ItemOutcome.FAILED
    assert "2 times" in given_up[IDS[0]].message


def test_an_item_under_way_when_the_process_ended_in_order_is_no_killer(tmp_path, shard):
    plan = plan_stage(tmp_path / "results", shard, {}, CHOICE, IMAGE)
    for number in (1, 2):
        folder = tmp_path / "task" / f"try-{number}"
        folder.mkdir(parents=True)
        (folder / "current_item").write_text(IDS[0])
        (folder / "outcome.json").write_text("{}")
    assert set_aside_killers(plan, tmp_path / "task") == (StagePlan({}, plan.waiting), {})


def outcome(code, *reports):
    return StageOutcome(exit_code=code, message="as told", items=reports)


@pytest.mark.parametrize(
    ("code", "action", "attempt"),
    [
        (ExitCode.DONE, Action.SUCCEED, AttemptOutcome.DONE),
        (ExitCode.ALL_REJECTED, Action.SKIP, AttemptOutcome.REJECTED),
        (ExitCode.STEPPED_ASIDE, Action.RETRY, AttemptOutcome.STEPPED_ASIDE),
        (ExitCode.TRANSIENT, Action.RETRY, AttemptOutcome.TRANSIENT),
        (ExitCode.DEVICE_FAILED, Action.FAIL, AttemptOutcome.DEVICE_FAILED),
        (ExitCode.BUG, Action.FAIL, AttemptOutcome.FAILED),
        (1, Action.FAIL, AttemptOutcome.FAILED),
        (137, Action.RETRY, AttemptOutcome.TRANSIENT),
    ],
)
def test_the_exit_code_decides(code, action, attempt):
    verdict = judge(code, outcome(code), False, {})
    assert (verdict.action, verdict.outcome) == (action, attempt)
    assert "as told" in verdict.message


def test_success_without_results_is_a_failure():
    items = {IDS[0]: StageItem(fingerprint="1" * 24, outcome=ItemOutcome.LEFT)}
    assert judge(0, outcome(0), False, items).action is Action.FAIL


def test_running_out_of_memory_names_the_setting():
    verdict = judge(137, None, True, {})
    assert verdict.action is Action.RETRY
    assert "NIGHTREEL_STAGE_MEMORY_MIB" in verdict.message


def test_the_results_on_disk_decide_what_became_of_an_item(tmp_path, shard):
    waiting = plan_stage(tmp_path, shard, {}, CHOICE, IMAGE).waiting
    write_result(tmp_path, waiting[0])
    reports = [
        ItemReport(asset_id=item.asset_id, fingerprint=item.fingerprint, outcome=said, message="why")
        for item, said in zip(waiting, [ItemOutcome.DONE, ItemOutcome.FAILED, ItemOutcome.DONE], strict=True)
    ]
    made = after_container(tmp_path, Stage.PROBE, waiting, outcome(70, *reports), "the verdict")
    assert [made[i].outcome for i in IDS] == [ItemOutcome.DONE, ItemOutcome.FAILED, ItemOutcome.LEFT]
    assert made[IDS[1]].message == "why"
    assert made[IDS[2]].message == "the verdict"
