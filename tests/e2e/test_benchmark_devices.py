"""Compute types measured against each other on real media, in a real deployment."""

import json

import pytest
from sqlalchemy import text

from operators.benchmark.figures import TOTAL

DAG = "benchmark_devices"
REPEATS = 3
VARIANTS = [
    {"name": "audio float32", "stages": ["audio.transcribe"], "compute_type": "float32"},
    {"name": "audio int8", "stages": ["audio.transcribe"], "compute_type": "int8"},
    {"name": "vision float32", "stages": ["vision.analyze"], "compute_type": "float32"},
    {"name": "vision int8", "stages": ["vision.analyze"], "compute_type": "int8_bfloat16"},
]
FIGURES = """
select v.name, f.stage, f.phase, f.n, f.median_s
from benchmark join benchmark_figure as f using (benchmark_id)
join benchmark_variant as v using (benchmark_id, variant_index)
where dag_id = :dag_id and run_id = :run_id
"""
VARIANT_ROWS = """
select v.name, v.outcome, v.message, v.builds
from benchmark join benchmark_variant as v using (benchmark_id)
where dag_id = :dag_id and run_id = :run_id order by variant_index
"""
ROUNDS = """
select round, variant_index, count(*) as n
from benchmark join benchmark_timing using (benchmark_id)
where dag_id = :dag_id and run_id = :run_id group by round, variant_index
"""
CHECKS = """
select c.name, c.value, c.is_passed, v.name as variant
from benchmark join benchmark_check as c using (benchmark_id)
join benchmark_variant as v using (benchmark_id, variant_index)
where dag_id = :dag_id and run_id = :run_id
"""
FASTER = """
update benchmark_figure set median_s = median_s / 10, q1_s = q1_s / 10, q3_s = q3_s / 10
where benchmark_id = (select benchmark_id from benchmark where dag_id = :dag_id and run_id = :run_id)
"""
BENCHMARKS = "select outcome, message, machine, media from benchmark where dag_id = :dag_id and run_id = :run_id"
RECORDED = "select count(*) as n from stage_attempt where dag_id = :dag_id and run_id = :run_id"


@pytest.fixture(scope="module")
def measured(deployment, speech):
    location = f"archive/{speech.relative_to(deployment.settings.archive)}"
    choices = {"variants": VARIANTS, "repeats": REPEATS, "name": "first"}
    return deployment.wait(deployment.start(location, dag_id=DAG, **choices), limit_s=1800)


def test_every_variant_is_measured_in_every_round(deployment, measured):
    assert measured.state == "success"
    rounds = {(row["round"], row["variant_index"]) for row in deployment.run_rows(ROUNDS, measured)}
    assert rounds == {(number, place) for number in range(REPEATS + 1) for place in range(len(VARIANTS))}
    totals = {row["name"]: row for row in deployment.run_rows(FIGURES, measured) if row["phase"] == TOTAL}
    assert {name: row["n"] for name, row in totals.items()} == dict.fromkeys(
        (variant["name"] for variant in VARIANTS), REPEATS
    )


def test_int8_agrees_with_float32(deployment, measured):
    checks = [row for row in deployment.run_rows(CHECKS, measured) if row["variant"] == "audio int8"]
    assert {row["name"] for row in checks} == {"word error rate", "p95 of segment start drift"}
    outcomes = {row["name"]: row["outcome"] for row in deployment.run_rows(VARIANT_ROWS, measured)}
    assert set(outcomes.values()) == {"measured"}


def test_the_machine_the_images_and_the_media_are_named(deployment, measured):
    (row,) = deployment.run_rows(BENCHMARKS, measured)
    assert row["machine"]["cpu"]
    assert row["machine"]["cores"] >= 1
    assert row["media"][0]["duration_s"] > 1
    for variant in deployment.run_rows(VARIANT_ROWS, measured):
        assert all(build["image_digest"].startswith("sha256:") for build in variant["builds"])


def test_nothing_of_it_reaches_production(deployment, measured):
    assert deployment.run_rows(RECORDED, measured)[0]["n"] == 0
    steps = (deployment.settings.work / DAG).glob("*/steps/*.json")
    own = {name for step in steps for name in json.loads(step.read_text())["results"].values()}
    results = {path.name for path in deployment.settings.results.glob("assets/*/*/*")}
    assert own
    assert not own & results
    assert deployment.containers(measured) == []


def test_the_files_lie_in_the_benchmarks_folder(deployment, measured):
    folders = list((deployment.settings.work / DAG).iterdir())
    (folder,) = [path for path in folders if (path / "benchmark.md").exists()]
    report = (folder / "benchmark.md").read_text()
    assert "audio int8" in report
    assert (folder / "timings.csv").read_text().startswith("variant,round,stage,asset,source,phase,seconds")
    assert (folder / "comparison.csv").exists()


def test_a_variant_made_wrong_on_purpose_is_caught(deployment, speech):
    """It keeps the surest boxes alone and reads no text: faster, and another result."""
    location = f"archive/{speech.relative_to(deployment.settings.archive)}"
    blind = {"vision.analyze": {"detection_confidence": 0.99, "ocr": False}}
    variants = [
        {"name": "right", "stages": ["vision.analyze"]},
        {"name": "wrong", "stages": ["vision.analyze"], "parameters": blind},
    ]
    run = deployment.wait(deployment.start(location, dag_id=DAG, variants=variants, repeats=1, name="second"))
    assert run.state == "success"
    right, wrong = deployment.run_rows(VARIANT_ROWS, run)
    assert (right["outcome"], wrong["outcome"]) == ("measured", "wrong")
    assert "share of boxes with a partner" in wrong["message"]


def test_slower_than_the_baseline_fails_the_run(deployment, measured, speech):
    """The first benchmark is made ten times as fast as it was: how fast this machine is by now decides nothing."""
    location = f"archive/{speech.relative_to(deployment.settings.archive)}"
    with deployment.media_database().begin() as connection:
        connection.execute(text(FASTER), {"dag_id": measured.dag_id, "run_id": measured.run_id})
    choices = {"variants": VARIANTS[:1], "repeats": REPEATS, "name": "third", "baseline": "first"}
    run = deployment.wait(deployment.start(location, dag_id=DAG, **choices), limit_s=1800)
    assert run.state == "failed"
    (row,) = deployment.run_rows(BENCHMARKS, run)
    assert row["outcome"] == "regressed"
    assert "slower than baseline 'first': audio float32, audio.transcribe" in row["message"]
