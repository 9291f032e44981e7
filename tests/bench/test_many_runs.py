"""The generator of many runs makes what the pages read."""

from datetime import timedelta

from sqlalchemy import Engine, text

from operators.views.timings import RunFilter, Scope, read_runs, read_series, read_slowest, read_timeline
from tests.bench.many_runs import LAST_NIGHT, Extent, fill_runs


def test_runs_assets_and_sums_belong_together(media_database: Engine) -> None:
    phases = fill_runs(media_database, Extent(assets=40, runs=4, nights=2))

    runs = read_runs(media_database, RunFilter(), 0, 9)
    nights = LAST_NIGHT - timedelta(days=1), LAST_NIGHT + timedelta(days=1)
    series = read_series(media_database, nights[0].date(), nights[1].date())
    with media_database.connect() as connection:
        done = connection.execute(text("select count(*) from phase_timing where outcome = 'done'")).scalar_one()
    timeline = read_timeline(media_database, Scope("process_media", runs[0].run_id))

    assert phases == 4 * 459
    assert [run.assets for run in runs] == [20, 20, 20, 20]
    assert {round(run.coverage or 0, 3) for run in runs} == {1}
    assert sum(one.n for one in series) == done
    assert sum(one.sum_s for one in series) <= sum(run.wait_s + run.overhead_s + run.work_s for run in runs)
    assert read_slowest(media_database, *nights, by_ratio=True)
    assert timeline is not None
    assert [drawn.lane.task_id for drawn in timeline.lanes][0::6] == ["find_assets", "publish"]
