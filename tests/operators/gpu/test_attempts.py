"""Attempts at tasks that lease a GPU, or hand their work over."""

from sqlalchemy import Engine, text

from operators.gpu.lease import ask
from operators.stage_plan import AttemptOutcome
from operators.timings import AttemptDetails, AttemptEnd, begin_attempt, describe_attempt, finish_attempt
from stage_contract.vocabulary import Stage
from tests.operators.gpu.samples import NOW, SMALL, request, task


def test_an_attempt_names_the_lease_under_which_it_runs(media_database: Engine) -> None:
    lease_id = ask(media_database, request())
    begin_attempt(media_database, task(), Stage.TRANSCRIBE, NOW)
    describe_attempt(media_database, task(), AttemptDetails(device=SMALL, lease_id=lease_id))
    describe_attempt(media_database, task(), AttemptDetails(container_id="c1"))
    finish_attempt(media_database, task(), AttemptEnd(NOW, AttemptOutcome.MOVED, message="handed over to the CPU"))

    with media_database.begin() as connection:
        found = connection.execute(text("select lease_id, device, container_id, outcome from stage_attempt")).one()
    assert tuple(found) == (lease_id, SMALL, "c1", "moved")
