"""Routing on a real Postgres."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from operators.errors import ChoiceInvalid
from operators.gpu.routing_store import routing, routing_changes, set_routing
from operators.routing import DevicePolicy
from stage_contract.vocabulary import Stage


def test_stages_with_a_gpu_build_go_where_it_suits_until_somebody_chooses(media_database: Engine) -> None:
    assert routing(media_database) == {Stage.TRANSCRIBE: DevicePolicy.AUTO, Stage.ANALYZE: DevicePolicy.AUTO}


def test_a_change_holds_at_once_and_names_its_author(media_database: Engine) -> None:
    set_routing(media_database, Stage.TRANSCRIBE, DevicePolicy.CPU, "anna", "compare prices\0")
    changed = set_routing(media_database, Stage.TRANSCRIBE, DevicePolicy.GPU, "ben", "the GPU is faster")

    assert routing(media_database) == {Stage.TRANSCRIBE: DevicePolicy.GPU, Stage.ANALYZE: DevicePolicy.AUTO}
    assert changed.policy_before is DevicePolicy.CPU
    last, first = routing_changes(media_database)
    assert last == changed
    assert (last.policy_after, last.changed_by, last.reason) == (DevicePolicy.GPU, "ben", "the GPU is faster")
    assert (first.policy_before, first.policy_after) == (DevicePolicy.AUTO, DevicePolicy.CPU)
    assert (first.stage, first.changed_by, first.reason) == (Stage.TRANSCRIBE, "anna", "compare prices\ufffd")


def test_changes_at_once_are_all_recorded_and_the_last_holds(media_database: Engine) -> None:
    policies = [DevicePolicy.CPU, DevicePolicy.GPU] * 4
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda policy: set_routing(media_database, Stage.ANALYZE, policy, "anna", "why"), policies))

    changes = list(reversed(routing_changes(media_database)))
    assert len(changes) == len(policies)
    assert changes[-1].policy_after is routing(media_database)[Stage.ANALYZE]
    assert [c.policy_before for c in changes[1:]] == [c.policy_after for c in changes[:-1]]


@pytest.mark.parametrize(
    ("stage", "who", "why", "message"),
    [
        (Stage.ENRICH, "anna", "why", "nlp.enrich has none; choose audio.transcribe or vision.analyze"),
        (Stage.ANALYZE, "", "why", "must say who and why"),
        (Stage.ANALYZE, "anna", "\n", "must say who and why"),
    ],
)
def test_what_cannot_be_routed_is_refused(
    media_database: Engine, stage: Stage, who: str, why: str, message: str
) -> None:
    with pytest.raises(ChoiceInvalid, match=message):
        set_routing(media_database, stage, DevicePolicy.CPU, who, why)
    assert routing_changes(media_database) == []
