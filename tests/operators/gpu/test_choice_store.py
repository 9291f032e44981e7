"""The choice of a branch, kept."""

from sqlalchemy import Engine, text

from operators.gpu.choice import Branch, BranchQuestion, choose_branch
from operators.gpu.choice_store import choices_of_run, save_choice
from operators.routing import DevicePolicy
from stage_contract.gpu_health import HostHealth
from stage_contract.vocabulary import Stage
from tests.operators.gpu.samples import NOW, configuration, healthy, host, task

ONE = configuration(8192)


def question(health: HostHealth) -> BranchQuestion:
    return BranchQuestion(
        Stage.ANALYZE, 2304, DevicePolicy.AUTO, DevicePolicy.GPU, ONE, health, {}, {}, waited_s=612.5, now=NOW
    )


def test_a_choice_is_found_again_with_all_that_decided_it(media_database: Engine) -> None:
    asked = question(healthy(ONE))
    save_choice(media_database, task(), asked, choose_branch(asked))

    (found,) = choices_of_run(media_database, "process_media", "night")
    assert (found.task_id, found.stage, found.branch, found.policy) == (
        "audio_transcribe_gpu",
        Stage.ANALYZE,
        Branch.GPU,
        DevicePolicy.GPU,
    )
    assert (found.need_mib, found.waited_s, found.decided_at) == (2304, 612.5, NOW)
    assert found.reason.startswith("vision.analyze runs on a GPU, where 2304 MiB are needed: GPU-1")
    assert [(d["device_uuid"], d["usable_mib"], d["hindrance"]) for d in found.devices] == [("GPU-1", 7680, None)]
    assert choices_of_run(media_database, "process_media", "another night") == []


def test_deciding_again_in_the_same_try_replaces_the_choice_and_another_try_adds_one(media_database: Engine) -> None:
    for health, number in ((healthy(ONE), 1), (host(), 1), (healthy(ONE), 2)):
        asked = question(health)
        save_choice(media_database, task(try_number=number), asked, choose_branch(asked))

    found = choices_of_run(media_database, "process_media", "night")
    assert [(choice.try_number, choice.branch) for choice in found] == [(1, Branch.CPU), (2, Branch.GPU)]


def test_choices_go_with_their_run(media_database: Engine) -> None:
    asked = question(healthy(ONE))
    save_choice(media_database, task(), asked, choose_branch(asked))
    with media_database.begin() as connection:
        connection.execute(text("delete from processing_run"))

    assert choices_of_run(media_database, "process_media", "night") == []
