from hypothesis import given
from hypothesis import strategies as st

from operators.backfill.settling import ShardOutcome, end_item, shard_outcome
from operators.backfill.waits import MOST_RETURNS
from operators.timings import RunItemOutcome

FOUND = st.sampled_from([None, *RunItemOutcome])
ENDED = {RunItemOutcome.DONE, RunItemOutcome.REJECTED, RunItemOutcome.FAILED}


@given(found=FOUND, returns=st.integers(0, MOST_RETURNS), message=st.text(max_size=20))
def test_what_a_run_decided_stands_and_nothing_comes_back_for_ever(found, returns, message):
    end = end_item(found, returns, message)
    if found in ENDED:
        assert (end.outcome, end.returns, end.message) == (found, returns, message)
    else:
        assert end.returns == returns + 1
        assert (end.outcome is RunItemOutcome.FAILED) == (end.returns >= MOST_RETURNS)


@given(st.lists(FOUND, min_size=1))
def test_a_shard_is_done_only_when_all_of_it_has_ended_well(found):
    outcome = shard_outcome([end_item(one, 0, "") for one in found])
    if RunItemOutcome.FAILED in found:
        assert outcome is ShardOutcome.FAILED
    else:
        assert (outcome is ShardOutcome.DONE) == (set(found) <= ENDED)
