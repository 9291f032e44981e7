"""The pages on phase timings, as a person gets them."""

import re
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from nightreel_ui import timings
from operators.timings import RunOutcome, RunStart, begin_attempt, begin_run, record_phases
from stage_contract.request import TaskKey
from stage_contract.vocabulary import Phase, Stage, Variant
from tests.operators.views.timed_runs import DAG, START, TASK, make_run, phase
from tests.plugins.conftest import Visitors

RUN_ID = "manual__2026-11-20T22:00:00+00:00"
TABS = (
    f"/timings/run/{DAG}?run_id=x",
    f"/timings/task/{DAG}?task_id={TASK}",
    f"/timings/task_instance/{DAG}?run_id=x&task_id={TASK}&map_index=-1",
)


@pytest.fixture
def viewer(visit: Visitors) -> TestClient:
    return visit("viewer")


def page_of(client: TestClient, path: str, **query: str) -> str:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return str(answer.text)


def seen(html: str) -> str:
    """What a person reads, on one line."""
    words: list[str] = []

    class Reader(HTMLParser):
        def handle_data(self, data: str) -> None:
            words.append(data)

    Reader().feed(html)
    return " ".join(" ".join(words).split())


@pytest.mark.parametrize("path", ["/timings", "/timings/nights", *TABS])
def test_without_any_run_a_page_says_how_to_get_one(viewer: TestClient, path: str) -> None:
    answer = viewer.get(path)

    assert answer.status_code == 200
    assert 'class="empty"' in answer.text
    assert "make process FILE=clip.mp4" in answer.text


def test_the_list_shows_each_run_and_leads_to_it(media_database: Engine, viewer: TestClient) -> None:
    make_run(media_database, RUN_ID)

    html = page_of(viewer, "/timings")

    assert "2026-11-20 23:00:00" in html  # Berlin's clocks
    assert "waiting 13.3%, overhead 6.7%, work 80.0%" in html
    (link,) = re.findall(r'href="(/timings/run/[^"]+)"', html)
    told = seen(viewer.get(link.replace("&amp;", "&")).text)
    assert RUN_ID in told
    assert "all runs" in told


def test_the_list_goes_on_on_further_pages(media_database: Engine, viewer: TestClient) -> None:
    for number in range(timings.RUNS + 2):
        begin_run(media_database, RunStart(DAG, f"run {number:03}", {}, START, START + timedelta(minutes=number)))

    first, second = page_of(viewer, "/timings"), page_of(viewer, "/timings", page="2")

    assert "run 026" in first
    assert 'href="/timings?dag_id=&amp;outcome=&amp;from=&amp;to=&amp;page=2"' in first
    assert "run 001" in second
    assert "run 002" not in second


def test_a_filter_that_finds_nothing_says_so(media_database: Engine, viewer: TestClient) -> None:
    make_run(media_database, RUN_ID)

    assert "No run fits" in page_of(viewer, "/timings", outcome="failed")
    assert RUN_ID in page_of(viewer, "/timings", **{"outcome": "done", "from": "2026-11-20", "to": "2026-11-20"})
    assert "No run fits" in page_of(viewer, "/timings", **{"from": "2026-11-21", "to": ""})


@pytest.mark.parametrize(
    ("path", "query", "told"),
    [
        ("/timings", {"from": "yesterday"}, "must be a day"),
        ("/timings", {"to": "0001-01-01"}, "since 1970"),
        ("/timings", {"to": "9999-12-31"}, "since 1970"),
        ("/timings/nights", {"from": "2026-11-22", "to": "2026-11-21"}, "must not be after the last"),
    ],
)
def test_days_that_are_none_are_refused(viewer: TestClient, path: str, query: dict[str, str], told: str) -> None:
    answer = viewer.get(path, params=query)

    assert answer.status_code == 422
    assert told in answer.text


def test_across_runs_there_are_percentiles_throughput_and_the_slowest(
    media_database: Engine, viewer: TestClient
) -> None:
    make_run(media_database, "on cpu", work_s=30)
    make_run(media_database, "on gpu", variant=Variant.CUDA, work_s=3, files=("2024/three.mp4",))

    told = seen(page_of(viewer, "/timings/nights", **{"from": "2026-11-01", "to": "2026-11-30"}))

    assert "audio.transcribe cpu 0.1 h 0.0 h 3.69 13.3%" in told  # 4 minutes of media in 65 busy seconds
    assert "transcription cpu int8 base.en 2 1 min 00 s 30.0 s 30.0 s 30.0 s" in told
    assert "transcription GPU-1a2b int8 base.en 1 3.0 s 3.0 s 3.0 s 3.0 s" in told
    assert re.search(r"archive/2024/(one|two).mp4 2 min 00 s 30.0 s 0.25", told)


def test_the_slowest_are_ordered_as_asked(media_database: Engine, viewer: TestClient) -> None:
    make_run(media_database, "one", files=("a.mp4",), work_s=30)
    span = {"from": "2026-11-01", "to": "2026-11-30"}

    assert 'aria-current="true">by work<' in page_of(viewer, "/timings/nights", **span)
    assert 'aria-current="true">by work per length<' in page_of(viewer, "/timings/nights", **span, slowest="ratio")


def test_more_nights_than_a_page_reads_are_cut_and_it_says_so(viewer: TestClient) -> None:
    html = page_of(viewer, "/timings/nights", **{"from": "2020-01-01", "to": "2026-11-30"})

    assert "92 nights at most" in html
    assert 'value="2026-08-31"' in html


def test_a_run_is_shown_with_its_figures_timeline_and_phases(media_database: Engine, viewer: TestClient) -> None:
    make_run(media_database, RUN_ID, outcome=RunOutcome.FAILED)

    html = page_of(viewer, f"/timings/run/{DAG}", run_id=RUN_ID)

    told = seen(html)
    assert "1 min 20 s wall time" in told
    assert "93.8% of it covered by phases" in told
    assert "try 1 · cpu · failed · 1 min 15 s" in told
    assert re.findall(r'<rect class="(wait|overhead|work|failed)" x', html) == ["wait", "overhead", "work", "failed"]
    assert "audio_s 120" in told
    assert "512 MiB" in told
    assert "<b>by</b>" not in html
    assert "told &lt;b&gt;by&lt;/b&gt; the task" in html
    assert 'class="sections"' not in html  # Airflow says where one is


def test_every_bar_leads_to_its_row(media_database: Engine, viewer: TestClient) -> None:
    make_run(media_database, RUN_ID)
    path = f"/timings/run/{DAG}"

    html = page_of(viewer, path, run_id=RUN_ID)

    links = re.findall(r'class="bar" href="([^"]+)"', html)
    assert len(links) == 4
    for link in links:
        query, anchor = link.replace("&amp;", "&").split("#")
        assert f'<tr id="{anchor}">' in viewer.get(path + query).text


def test_a_large_run_is_a_small_page_with_a_paged_table(media_database: Engine, viewer: TestClient) -> None:
    begin_run(media_database, RunStart(DAG, "large", {}, START, START))
    for step in range(5):
        task = TaskKey(dag_id=DAG, run_id="large", task_id=f"stage_{step}", try_number=1)
        begin_attempt(media_database, task, Stage.ANALYZE, START)
        record_phases(
            media_database,
            task,
            [
                phase((Phase.DECODE, Phase.CLIP)[number % 2], START + timedelta(seconds=2000 * step + number), 1)
                for number in range(2000)
            ],
        )

    html = page_of(viewer, f"/timings/run/{DAG}", run_id="large")
    last = page_of(viewer, f"/timings/run/{DAG}", run_id="large", page="200")

    assert len(html) < 100_000
    assert html.count('class="bar"') < 50
    assert "2000 short phases, mostly work" in html
    assert 'id="phase-50"' in html
    assert 'id="phase-51"' not in html
    assert 'id="phase-10000"' in last
    assert "There are no more phases" in page_of(viewer, f"/timings/run/{DAG}", run_id="large", page="201")


def test_a_task_that_is_not_mapped_has_no_map_index(media_database: Engine, viewer: TestClient) -> None:
    make_run(media_database, RUN_ID)

    html = page_of(viewer, f"/timings/task_instance/{DAG}", run_id=RUN_ID, task_id=TASK, map_index="{MAP_INDEX}")

    assert f"Tries of {TASK}" in seen(html)
    assert 'id="phase-4"' in html


def test_a_task_is_shown_over_its_runs(media_database: Engine, viewer: TestClient) -> None:
    make_run(media_database, "one", outcome=RunOutcome.FAILED)
    make_run(media_database, "two", begins_at=START + timedelta(hours=1))

    told = seen(page_of(viewer, f"/timings/task/{DAG}", task_id=TASK))

    assert "transcription work cpu 4 2 min 00 s 30.0 s 30.0 s 30.0 s 512 MiB" in told
    assert told.index("two 1 cpu") < told.index("one 1 cpu")
    assert "told <b>by</b> the task" in told


def test_hostile_names_are_shown_as_text(media_database: Engine, viewer: TestClient) -> None:
    hostile = "<script>alert(1)</script>\"'>.mp4"
    make_run(media_database, "<img src=x onerror=alert(2)>", files=(hostile,))
    span = {"from": "2026-11-01", "to": "2026-11-30"}

    pages = [
        page_of(viewer, "/timings"),
        page_of(viewer, "/timings/nights", **span),
        page_of(viewer, f"/timings/run/{DAG}", run_id="<img src=x onerror=alert(2)>"),
        page_of(viewer, f"/timings/task/{DAG}", task_id=TASK),
        page_of(viewer, f"/timings/task/{DAG}", task_id="<script>alert(3)</script>"),
    ]

    assert hostile in seen(pages[1])
    assert hostile in seen(pages[2])
    for html in pages:
        assert "<script>alert" not in html
        assert "<img" not in html
        assert "style=" not in html


@pytest.mark.parametrize("path", ["/timings", "/timings/nights", *TABS])
def test_nobody_sees_timings_who_may_not_see_the_dag(
    visit: Visitors, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []

    def refuse(manager: object, *, details: object, **_: object) -> bool:
        asked.append(getattr(details, "id", None))
        return False

    monkeypatch.setattr(
        "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager.is_authorized_dag", refuse
    )

    assert visit("viewer").get(path).status_code == 403
    assert asked == [DAG]


def test_a_tab_asks_for_the_dag_of_its_own_path(visit: Visitors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager.is_authorized_dag",
        lambda manager, *, details, **_: details.id == "another",
    )
    viewer = visit("viewer")

    assert viewer.get("/timings/run/another?run_id=x").status_code == 200
    assert viewer.get(f"/timings/run/{DAG}?run_id=x").status_code == 403
    assert viewer.get("/timings").status_code == 403
