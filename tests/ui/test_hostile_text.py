"""Names, transcripts, labels and reasons full of markup and scripts are text in a real browser, and nothing runs."""

import pytest

from tests.plugins.hostile import DAG_ID, RARE_WORD, RUN_ID, plant
from tests.ui.person import Place
from tests.ui.places import below


@pytest.fixture(scope="module")
def planted(deployment, looks, narrow_looks):
    """After the looks: from now on backfills are paused and a stage is routed by hand."""
    return plant(deployment.media_database(), deployment.settings.results, deployment.settings.archive)


def places_of(planted):
    run = {"run_id": RUN_ID, "nav": "1"}
    task = {**run, "task_id": "audio_transcribe_cpu"}
    return (
        Place("hostile_timings", below("timings", "timings")),
        Place("hostile_nights", below("timings", "timings/nights"), (RARE_WORD,)),
        Place("hostile_run", below("timings", f"timings/run/{DAG_ID}", run), (RARE_WORD,)),
        Place("hostile_task", below("timings", f"timings/task_instance/{DAG_ID}", task), (RARE_WORD,)),
        Place("hostile_comparison", below("comparison", "comparison"), (RARE_WORD,)),
        Place("hostile_benchmark", below("comparison", f"comparison/benchmarks/{planted.benchmark_id}"), (RARE_WORD,)),
        Place("hostile_devices", below("devices", "devices"), (RARE_WORD,)),
        Place("hostile_changes", below("devices", "devices/history"), (RARE_WORD,)),
        Place("hostile_backfill", below("backfill", "backfill"), (RARE_WORD,)),
        Place("hostile_night", below("backfill", f"backfill/nights/{planted.backfill_id}")),
        Place("hostile_failures", below("backfill", "backfill/failures"), (RARE_WORD,)),
        Place("hostile_archive", below("archive", "archive"), (RARE_WORD,)),
        Place("hostile_search", below("archive", "archive", {"q": RARE_WORD}), (RARE_WORD,)),
        Place("hostile_asset", below("archive", f"archive/asset/{planted.asset_id}"), (RARE_WORD,)),
    )


def test_hostile_text_is_text_and_nothing_of_it_runs(editor, planted):
    found = {}
    for place in places_of(planted):
        with editor.at(place) as visit:
            look = visit.look()
            ran = [frame.evaluate("window.ran ?? null") for frame in visit.page.frames]
            missing = [word for word in place.words if word not in look.text]
            if look.planted or look.errors or any(ran) or missing:
                found[place.name] = (look.planted, look.errors, ran, missing)
    assert not found
