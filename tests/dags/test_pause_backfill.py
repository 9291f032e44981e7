"""What the form of `pause_backfill` asks for."""

import importlib
from copy import copy
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException

from operators.backfill.pause import PauseAction, find_pause, switch_backfills

MODULE = importlib.import_module("pause_backfill_dag")


@pytest.fixture
def switch(monkeypatch, media_database):
    """Does what the form says, with what is left out as it is there at first."""
    monkeypatch.setattr(MODULE, "connect", lambda: media_database)

    def do(**form):
        # Copies: what is resolved stays in a parameter.
        params = {name: copy(param).resolve(form.get(name, param.value)) for name, param in MODULE.PARAMS.items()}
        context = {"dag_run": SimpleNamespace(triggering_user_name="anna"), "params": params}
        monkeypatch.setattr(MODULE, "get_current_context", lambda: context)
        return MODULE.dag.get_task("switch").python_callable()

    return do


def test_resuming_needs_no_reason(media_database, switch):
    switch_backfills(media_database, PauseAction.PAUSE, "ben", "disks are moved")
    assert switch(action="resume") == "backfills go on"
    assert find_pause(media_database) is None


@pytest.mark.parametrize("form", [{}, {"reason": ""}])
def test_a_pause_without_a_reason_is_refused(media_database, switch, form):
    with pytest.raises(AirflowFailException, match="who and why"):
        switch(**form)
    assert find_pause(media_database) is None


def test_a_pause_is_that_of_whoever_asked_for_it(media_database, switch):
    switch(reason="disks are moved")
    pause = find_pause(media_database)
    assert pause is not None
    assert (pause.paused_by, pause.reason) == ("anna", "disks are moved")
