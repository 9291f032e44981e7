"""`stage_contract.runner` with a real worker in a process of its own: exit codes, reuse, crashes."""

import gc
import json
import os
import signal

import pytest

from stage_contract.vocabulary import DeviceFault, ExitCode, ItemOutcome, Phase, PhaseOutcome, Reason, ResultStatus
from tests.contract.toy_bench import DEADLINE_S, Bench


def test_done_items_have_results_and_exit_0(bench: Bench) -> None:
    assert bench.run("good one", "good two") == ExitCode.DONE
    assert bench.outcomes() == [ItemOutcome.DONE, ItemOutcome.DONE]
    result = bench.result(1)
    assert result is not None
    assert (result.status, result.stage_version, result.rejection) == (ResultStatus.DONE, "7", None)
    assert [file.name for file in result.files] == ["out.txt"]
    assert (bench.folder(1) / "out.txt").read_text() == "good two"


def test_the_time_before_the_process_is_a_phase_of_its_own(bench: Bench) -> None:
    bench.run("good")
    (record,) = bench.phases(Phase.CONTAINER_START)
    assert 5 <= record.duration_s < 5 + DEADLINE_S
    assert record.asset_id is None


def test_garbage_is_looked_for_as_usual_once_everything_is_loaded(bench: Bench) -> None:
    assert bench.run("garbage") == ExitCode.DONE
    assert f"collects every {gc.get_threshold()[0]}" in bench.diary()


def test_a_rejected_item_does_not_stop_the_others(bench: Bench) -> None:
    assert bench.run("reject this", "good") == ExitCode.DONE
    assert bench.outcomes() == [ItemOutcome.REJECTED, ItemOutcome.DONE]


def test_a_rejection_keeps_its_reason_and_no_file(bench: Bench) -> None:
    bench.run("reject this", "good")
    result = bench.result(0)
    assert result is not None
    assert result.rejection is not None
    assert result.rejection.message == bench.outcome().items[0].message
    assert [file.name for file in bench.folder(0).iterdir()] == ["result.json"]


def test_what_was_made_of_a_file_that_changed_meanwhile_is_not_kept(bench: Bench) -> None:
    assert bench.run("rewritten while it is read", "good") == ExitCode.DONE
    assert bench.outcomes() == [ItemOutcome.REJECTED, ItemOutcome.DONE]
    assert bench.outcome().items[0].reason is Reason.CHANGED
    assert bench.result(0) is None


def test_a_process_that_ended_in_order_names_no_item_that_killed_it(bench: Bench) -> None:
    bench.run("good", "transient")
    assert not (bench.work / "current_item").exists()


def test_nothing_but_rejections_is_exit_20(bench: Bench) -> None:
    assert bench.run("reject one", "reject two") == ExitCode.ALL_REJECTED


def test_an_unexpected_error_fails_the_item_and_the_others_go_on(bench: Bench) -> None:
    assert bench.run("crash", "good") == ExitCode.BUG
    assert bench.outcomes() == [ItemOutcome.FAILED, ItemOutcome.DONE]
    assert bench.outcome().items[0].message == "ValueError: a bug of ours"
    assert bench.result(0) is None
    assert bench.result(1) is not None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("device", ExitCode.DEVICE_FAILED),
        ("transient", ExitCode.TRANSIENT),
        ("full", ExitCode.TRANSIENT),
    ],
)
def test_what_concerns_the_machine_ends_the_container(bench: Bench, text: str, code: ExitCode) -> None:
    assert bench.run("good", text, "good later") == code
    assert bench.outcomes() == [ItemOutcome.DONE, ItemOutcome.LEFT, ItemOutcome.LEFT]
    assert bench.outcome().exit_code == code
    assert bench.result(1) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("device", DeviceFault.BROKEN),
        ("unsuitable", DeviceFault.UNSUITABLE),
        ("memory 9", DeviceFault.OUT_OF_MEMORY),
        ("transient", None),
        ("good", None),
    ],
)
def test_the_fault_of_the_device_is_told_exactly_when_it_was_given_up(
    bench: Bench, text: str, fault: DeviceFault | None
) -> None:
    assert (bench.run(text) == ExitCode.DEVICE_FAILED) == (fault is not None)
    assert bench.outcome().device_fault is fault


def test_a_device_that_fails_leaves_no_half_written_files(bench: Bench) -> None:
    bench.run("device")
    assert list(bench.folder(0).parent.iterdir()) == []


def test_a_refusal_that_concerns_one_file_fails_that_item_alone(bench: Bench) -> None:
    assert bench.run("denied", "good") == ExitCode.BUG
    assert bench.outcomes() == [ItemOutcome.FAILED, ItemOutcome.DONE]


def test_a_request_to_step_aside_leaves_the_rest(bench: Bench) -> None:
    assert bench.run("good", "aside", "good later") == ExitCode.STEPPED_ASIDE
    assert bench.outcomes() == [ItemOutcome.DONE, ItemOutcome.DONE, ItemOutcome.LEFT]
    assert "good later" not in bench.diary()


def test_a_request_to_step_aside_before_the_first_item_begins_nothing(bench: Bench) -> None:
    (bench.work / "step_aside").touch()
    assert bench.run("good") == ExitCode.STEPPED_ASIDE
    assert bench.outcomes() == [ItemOutcome.LEFT]


def test_sigterm_keeps_finished_items_and_tells_what_is_left(bench: Bench) -> None:
    assert bench.stop_while_hanging(signal.SIGTERM, "good", "hang", "good later") == 128 + signal.SIGTERM
    assert bench.outcome().exit_code == 128 + signal.SIGTERM
    assert bench.outcomes() == [ItemOutcome.DONE, ItemOutcome.LEFT, ItemOutcome.LEFT]
    assert bench.result(1) is None


def test_sigterm_leaves_the_interrupted_phase_in_the_timings(bench: Bench) -> None:
    bench.stop_while_hanging(signal.SIGTERM, "good", "hang")
    assert [record.outcome for record in bench.phases(Phase.PROBE)] == [PhaseOutcome.DONE, PhaseOutcome.INTERRUPTED]


def test_kill_9_within_an_item_leaves_no_complete_result_of_it(bench: Bench) -> None:
    assert bench.stop_while_hanging(signal.SIGKILL, "good", "hang") == -signal.SIGKILL
    assert [file.name for file in bench.folder(1).parent.rglob("*") if file.is_file()] == ["out.txt"]
    assert not bench.folder(1).exists()
    assert bench.result(1) is None
    assert bench.result(0) is not None


def test_a_retry_after_kill_9_does_only_what_was_not_finished(bench: Bench) -> None:
    bench.stop_while_hanging(signal.SIGKILL, "good", "hang")
    bench.diary_file.unlink()
    (bench.media / "archive" / "1.txt").write_text("well")
    assert bench.run("good", "hang") == ExitCode.DONE
    assert bench.outcomes() == [ItemOutcome.REUSED, ItemOutcome.DONE]
    assert bench.diary() == ["setup none 1", "well"]


def test_a_retry_after_kill_9_clears_what_was_left(bench: Bench) -> None:
    bench.stop_while_hanging(signal.SIGKILL, "good", "hang")
    (bench.media / "archive" / "1.txt").write_text("well")
    bench.run("good", "hang")
    assert list(bench.folder(1).parent.iterdir()) == [bench.folder(1)]
    assert sorted(file.name for file in bench.folder(1).iterdir()) == ["out.txt", "result.json"]


def test_complete_results_are_reused_without_setting_up(bench: Bench) -> None:
    bench.run("good one", "good two")
    bench.diary_file.unlink()
    assert bench.run("good one", "good two") == ExitCode.DONE
    assert bench.outcomes() == [ItemOutcome.REUSED, ItemOutcome.REUSED]
    assert bench.diary() == []


def test_a_rejection_is_reused_too(bench: Bench) -> None:
    bench.run("reject this")
    bench.diary_file.unlink()
    assert bench.run("reject this") == ExitCode.ALL_REJECTED
    assert bench.outcomes() == [ItemOutcome.REJECTED]
    assert "must not say reject" in bench.outcome().items[0].message
    assert bench.diary() == []


@pytest.mark.parametrize("damage", ["missing", "cut", "unreadable"])
def test_a_damaged_result_is_computed_again(bench: Bench, damage: str) -> None:
    bench.run("good")
    match damage:
        case "missing":
            (bench.folder(0) / "out.txt").unlink()
        case "cut":
            os.truncate(bench.folder(0) / "out.txt", 2)
        case "unreadable":
            (bench.folder(0) / "result.json").write_text('{"schema_version": 1, "asset')
    assert bench.run("good") == ExitCode.DONE
    assert bench.outcomes() == [ItemOutcome.DONE]
    assert (bench.folder(0) / "out.txt").read_text() == "good"


def test_a_changed_file_is_rejected(bench: Bench) -> None:
    bench.ask("good")
    (bench.media / "archive" / "0.txt").write_text("something else")
    process = bench.start()
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == ExitCode.ALL_REJECTED
    assert "must not change" in bench.outcome().items[0].message


@pytest.mark.parametrize("change", [{"stage": "nlp.enrich"}, {"items": []}, {"surprise": 1}, {"schema_version": 2}])
def test_a_request_that_is_not_for_this_stage_is_a_bug(bench: Bench, change: dict[str, object]) -> None:
    bench.ask("good")
    file = bench.work / "request.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    process = bench.start()
    told, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == ExitCode.BUG
    assert b"request must be a valid request.json for media.probe" in told
    assert bench.diary() == []
