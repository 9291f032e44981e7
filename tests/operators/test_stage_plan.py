from datetime import UTC, datetime

import pytest

from operators.shard import RunFolder, Shard, ShardItem, StageIndex, StageItem
from operators.stage_plan import (
    Action,
    AttemptOutcome,
    StageChoice,
    StageImage,
    StagePlan,
    Verdict,
    after_container,
    full_parameters,
    judge,
    over_all,
    plan_stage,
    set_aside_killers,
    without_container,
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
    first = plan_stage(tmp_path, shard, {}, (CHOICE, IMAGE))
    assert [item.asset_id for item in first.waiting] == IDS
    write_result(tmp_path, first.waiting[0])
    write_result(tmp_path, first.waiting[1], rejection=Rejection(reason=Reason.EMPTY, message="no bytes"))

    second = plan_stage(tmp_path, shard, {}, (CHOICE, IMAGE))
    assert [item.asset_id for item in second.waiting] == IDS[2:]
    assert second.complete[IDS[0]].outcome is ItemOutcome.REUSED
    assert second.complete[IDS[1]] == StageItem(
        fingerprint=first.waiting[1].fingerprint, outcome=ItemOutcome.REJECTED, reason=Reason.EMPTY, message="no bytes"
    )


def test_another_stage_version_or_parameter_asks_again(tmp_path, shard):
    first = plan_stage(tmp_path, shard, {}, (CHOICE, IMAGE)).waiting[0]
    write_result(tmp_path, first)
    newer = StageImage(IMAGE.name, IMAGE.digest, "2", ())
    shorter = StageChoice(Stage.PROBE, "none", full_parameters(Stage.PROBE, {"max_duration_s": 60}))
    assert len(plan_stage(tmp_path, shard, {}, (CHOICE, newer)).waiting) == 3
    assert len(plan_stage(tmp_path, shard, {}, (shorter, IMAGE)).waiting) == 3


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
    plan = plan_stage(tmp_path, shard, {Stage.PROBE: probed}, (choice, IMAGE))
    assert [(item.asset_id, item.inputs) for item in plan.waiting] == [(IDS[0], {Stage.PROBE: fingerprint})]


@pytest.fixture
def tries(tmp_path):
    """Folders of three tries, each of which died on the first item."""
    folders = [tmp_path / f"try-{number}" for number in (1, 2, 3)]
    for folder in folders:
        folder.mkdir()
        (folder / "current_item").write_text(IDS[0])
    return folders


def test_an_item_that_killed_the_process_goes_last_then_is_given_up(tmp_path, shard, tries):
    plan = plan_stage(tmp_path / "results", shard, {}, (CHOICE, IMAGE))
    later, given_up = set_aside_killers(plan, tries[:1])
    assert [item.asset_id for item in later.waiting] == [IDS[1], IDS[2], IDS[0]]
    assert not given_up
    later, given_up = set_aside_killers(plan, tries[:2])
    assert [item.asset_id for item in later.waiting] == [IDS[1], IDS[2]]
    assert given_up[IDS[0]].outcome is ItemOutcome.FAILED
    assert "2 times" in given_up[IDS[0]].message


@pytest.mark.parametrize("mark", ["outcome.json", "stopped"])
def test_an_item_under_way_when_the_process_ended_in_order_or_was_stopped_is_no_killer(tmp_path, shard, tries, mark):
    plan = plan_stage(tmp_path / "results", shard, {}, (CHOICE, IMAGE))
    for folder in tries:
        (folder / mark).touch()
    assert set_aside_killers(plan, tries) == (StagePlan({}, plan.waiting), {})


def test_tries_before_the_task_was_cleared_do_not_count(tmp_path):
    folder = RunFolder(tmp_path, "d", "r")
    fifth = TASK.model_copy(update={"try_number": 5})
    assert [path.name for path in folder.tries(fifth, 4)] == ["try-4"]
    assert [path.name for path in folder.tries(fifth, 1)] == ["try-1", "try-2", "try-3", "try-4"]
    assert folder.tries(fifth, 5) == []


def items(*outcomes):
    return {str(n): StageItem(fingerprint="1" * 24, outcome=ItemOutcome(said)) for n, said in enumerate(outcomes)}


SUCCESS = Verdict(Action.SUCCEED, AttemptOutcome.DONE, "1 done")
ALL_REJECTED = Verdict(Action.SKIP, AttemptOutcome.REJECTED, "1 rejected")
KILLED = Verdict(Action.RETRY, AttemptOutcome.TRANSIENT, "killed")


@pytest.mark.parametrize(
    ("verdict", "made", "action"),
    [
        (SUCCESS, ["done", "rejected"], Action.SUCCEED),
        (SUCCESS, ["done", "failed"], Action.FAIL),
        (SUCCESS, ["done", "left"], Action.RETRY),
        (ALL_REJECTED, ["rejected", "rejected"], Action.SKIP),
        (ALL_REJECTED, ["rejected", "reused"], Action.SUCCEED),
        (KILLED, ["done", "failed"], Action.RETRY),
    ],
)
def test_the_container_speaks_only_of_what_it_was_asked(verdict, made, action):
    assert over_all(verdict, items(*made)).action is action


@pytest.mark.parametrize(
    ("made", "action", "attempt"),
    [
        ([], Action.SKIP, AttemptOutcome.REJECTED),
        (["rejected"], Action.SKIP, AttemptOutcome.REJECTED),
        (["reused", "rejected"], Action.SUCCEED, AttemptOutcome.REUSED),
    ],
)
def test_without_anything_left_to_do_no_container_is_needed(made, action, attempt):
    verdict = without_container(Stage.PROBE, items(*made))
    assert (verdict.action, verdict.outcome) == (action, attempt)


def outcome(code, *reports):
    return StageOutcome(exit_code=code, message="as told", items=reports)


@pytest.mark.parametrize(
    ("code", "action", "attempt"),
    [
        (ExitCode.DONE, Action.SUCCEED, AttemptOutcome.DONE),
        (ExitCode.ALL_REJECTED, Action.SKIP, AttemptOutcome.REJECTED),
        (ExitCode.STEPPED_ASIDE, Action.STEP_ASIDE, AttemptOutcome.STEPPED_ASIDE),
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
    waiting = plan_stage(tmp_path, shard, {}, (CHOICE, IMAGE)).waiting
    write_result(tmp_path, waiting[0])
    reports = [
        ItemReport(asset_id=item.asset_id, fingerprint=item.fingerprint, outcome=said, message="why")
        for item, said in zip(waiting, [ItemOutcome.DONE, ItemOutcome.FAILED, ItemOutcome.DONE], strict=True)
    ]
    made = after_container(tmp_path, Stage.PROBE, waiting, outcome(70, *reports), "the verdict")
    assert [made[i].outcome for i in IDS] == [ItemOutcome.DONE, ItemOutcome.FAILED, ItemOutcome.LEFT]
    assert made[IDS[1]].message == "why"
    assert made[IDS[2]].message == "the verdict"
