"""The words of the GPU tables are those of the code."""

import re
from enum import StrEnum
from typing import get_args

import pytest
from sqlalchemy import Engine, text

from operators.gpu.breaker import BreakerState
from operators.gpu.choice import Branch
from operators.gpu.lease import LeaseEnding
from operators.routing import DevicePolicy
from stage_contract.gpu_health import XidSeverity


def words_of(kind: type[StrEnum]) -> set[str]:
    return {str(word) for word in kind}


@pytest.mark.parametrize(
    ("words", "constraint"),
    [
        (words_of(BreakerState), "gpu_breaker_state_check"),
        (words_of(BreakerState), "gpu_breaker_change_state_before_check"),
        (words_of(BreakerState), "gpu_breaker_change_state_after_check"),
        (words_of(XidSeverity), "gpu_event_severity_check"),
        (words_of(DevicePolicy), "stage_routing_policy_check"),
        (words_of(DevicePolicy), "stage_routing_change_policy_before_check"),
        (words_of(DevicePolicy), "stage_routing_change_policy_after_check"),
        (words_of(DevicePolicy), "device_choice_policy_check"),
        (words_of(Branch) - {"wait"}, "device_choice_branch_check"),
        (set(get_args(LeaseEnding)), "gpu_lease_ending_check"),
    ],
)
def test_the_database_takes_exactly_the_words_of_the_code(
    migrated_database: Engine, words: set[str], constraint: str
) -> None:
    with migrated_database.begin() as connection:
        definition = connection.execute(
            text("select pg_get_constraintdef(oid) from pg_constraint where conname = :name"), {"name": constraint}
        ).scalar_one()

    assert set(re.findall(r"'([^']+)'", definition)) == words
