"""The pages that hold the CPU against the GPU."""

import csv
import io

import pytest

from operators.benchmark import store
from operators.benchmark.plan import VariantChoice
from stage_contract.vocabulary import Variant
from tests.operators.benchmark.made import FLOAT32, INT8, MACHINE, begin_made, made_benchmark, made_plan
from tests.operators.sample_results import speaking
from tests.operators.views.test_comparison import add_attempt

WRONG = speaking("something else altogether", "that nobody has said")


def page_of(client, path="/comparison"):
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.text


def test_an_empty_page_says_what_to_do(visit):
    text = page_of(visit("viewer"))
    assert "No stage has ended yet" in text
    assert "No advice without figures" in text
    assert "No benchmark was run yet" in text
    assert "make benchmark FILE=clip.mp4" in text


def test_ordinary_runs_show_both_sides_and_what_they_advise(visit, media_database):
    for number in range(5):
        add_attempt(media_database, number, Variant.CPU, 20.0 + number)
        add_attempt(media_database, 100 + number, Variant.CUDA, 2.0)
    text = page_of(visit("viewer"))
    assert "pays on the GPU" in text
    assert "n = 5 assets" in text
    assert "GPU-1" in text
    assert "11.0\N{MULTIPLICATION SIGN}" in text


def test_a_benchmark_shows_times_and_which_variant_is_wrong(visit, media_database, tmp_path):
    plan = made_plan(name="night reel")
    found = made_benchmark(media_database, tmp_path, plan, seconds={"float32": 10, "int8": 4}, says={"int8": WRONG})
    client = visit("viewer")
    assert "1 wrong" in page_of(client)
    assert "night reel" in page_of(client, "/comparison/benchmarks")
    text = page_of(client, f"/comparison/benchmarks/{found.header.benchmark_id}")
    assert "word error rate" in text
    assert "allowed is at most 0.1" in text
    assert "2.3\N{MULTIPLICATION SIGN}" in text
    assert MACHINE.cpu in text
    assert "Make it the baseline" not in text


def test_a_benchmark_that_has_not_ended_says_so(visit, media_database, tmp_path):
    number = begin_made(media_database, tmp_path, made_plan(), ["a" * 64], MACHINE, "run")
    assert "It has not ended" in page_of(visit("viewer"), f"/comparison/benchmarks/{number}")


@pytest.mark.parametrize(("name", "kind"), [("benchmark.md", "text/markdown"), ("timings.csv", "text/csv")])
def test_a_benchmark_is_downloaded_from_the_database(visit, media_database, tmp_path, name, kind):
    found = made_benchmark(media_database, tmp_path, made_plan())
    answer = visit("viewer").get(f"/comparison/benchmarks/{found.header.benchmark_id}/files/{name}")
    assert answer.headers["content-type"].startswith(kind)
    assert "attachment" in answer.headers["content-disposition"]
    if kind == "text/csv":
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert len(rows) == len(found.measured.timings)
        assert {row["variant"] for row in rows} == {"float32", "int8"}
    else:
        assert "## Agreement with the reference" in answer.text


@pytest.mark.parametrize(
    "path",
    ["/comparison/benchmarks/7", f"/comparison/benchmarks/{10**30}", "/comparison/benchmarks/7/files/benchmark.md"],
)
def test_what_there_is_not_is_not_found(visit, path):
    assert visit("viewer").get(path).status_code == 404


def test_no_other_file_is_handed_out(visit, media_database, tmp_path):
    number = made_benchmark(media_database, tmp_path, made_plan()).header.benchmark_id
    assert visit("viewer").get(f"/comparison/benchmarks/{number}/files/plan.json").status_code == 404


def test_who_may_run_benchmarks_may_mark_the_baseline(visit, media_database, tmp_path):
    number = made_benchmark(media_database, tmp_path, made_plan(name="good one")).header.benchmark_id
    path = f"/comparison/benchmarks/{number}"
    editor = visit("user")
    answer = editor.post(f"{path}/baseline?be=marked")
    assert (answer.status_code, answer.headers["location"]) == (303, path)
    marked = store.find(media_database, number)
    assert marked is not None
    assert marked.marked_by == "user"
    assert "good one is the baseline" in page_of(editor, path)
    editor.post(f"{path}/baseline?be=unmarked")
    assert store.find_baseline(media_database, None, "d", "r") is None


def test_a_viewer_marks_nothing(visit, media_database, tmp_path):
    number = made_benchmark(media_database, tmp_path, made_plan()).header.benchmark_id
    assert visit("viewer").post(f"/comparison/benchmarks/{number}/baseline").status_code == 403
    assert store.find_baseline(media_database, None, "d", "r") is None


def test_a_running_benchmark_cannot_be_the_baseline(visit, media_database, tmp_path):
    number = begin_made(media_database, tmp_path, made_plan(), ["a" * 64], MACHINE, "run")
    editor = visit("user")
    editor.post(f"/comparison/benchmarks/{number}/baseline")
    assert "this one has not" in page_of(editor, f"/comparison/benchmarks/{number}")


def test_markup_in_names_and_messages_shows_as_text(visit, media_database, tmp_path):
    hostile = "<script>alert(1)</script>"
    plan = made_plan(FLOAT32, VariantChoice(name="a/b", stages=INT8.stages), name=hostile)
    number = made_benchmark(media_database, tmp_path, plan, fails={"a/b": f"it said {hostile}"}).header.benchmark_id
    client = visit("viewer")
    for path in ("/comparison", "/comparison/benchmarks", f"/comparison/benchmarks/{number}"):
        text = page_of(client, path)
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert" in text
