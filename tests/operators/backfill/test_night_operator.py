"""The trigger: step by step to the end of the night."""

import asyncio

from sqlalchemy.exc import OperationalError

from operators.backfill import night_operator
from operators.backfill.night import Standing
from operators.backfill.night_operator import NightTrigger


def test_a_step_that_cannot_be_done_does_not_end_the_night(monkeypatch, media_database):
    steps = iter(
        [OperationalError("select 1", {}, OSError("away")), Standing(False, ()), Standing(True, ("all done",))]
    )

    def step(_night):
        found = next(steps)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setenv("NIGHTREEL_SCAN_INCLUDE", "*")
    monkeypatch.setenv("NIGHTREEL_SETTLE_S", "600")
    monkeypatch.setattr(night_operator, "connect", lambda: media_database)
    monkeypatch.setattr(night_operator, "TICK_EVERY_S", 0.0)
    monkeypatch.setattr(night_operator, "tick", step)

    async def events():
        return [event.payload async for event in NightTrigger(1).run()]

    assert asyncio.run(events()) == ["all done"]
    assert next(steps, None) is None
