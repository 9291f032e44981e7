import shutil
from pathlib import Path
import pytest
from operators.benchmark.conclusion import conclude
from operators.benchmark.plan import BENCHMARK_DAG_ID, VariantChoice
from operators.benchmark.report import write_markdown
from operators.routing import IMAGES
from stage_contract.vocabulary import Stage
from tests.operators.benchmark.made import made_plan
from tests.operators.benchmark.test_measure_operator import bench, images  # noqa
import hashlib, json
from operators.shard import Shard, ShardItem
from operators.benchmark.conclusion import begin_benchmark
from operators.timings import RunStart, begin_run
from tests.operators.benchmark.made import MACHINE
from datetime import datetime, UTC

def test_real(bench, monkeypatch):
    for stage, name in {"media.probe":"media","media.extract":"media","audio.transcribe":"audio","vision.analyze":"vision","nlp.enrich":"nlp"}.items():
        monkeypatch.setitem(IMAGES, Stage(stage), name)
    monkeypatch.setenv("NIGHTREEL_STAGE_CPUS","2"); monkeypatch.setenv("NIGHTREEL_STAGE_MEMORY_MIB","3000"); monkeypatch.setenv("NIGHTREEL_STAGE_PIDS","256")
    blind = {Stage.ANALYZE: {"detection_confidence": 0.99, "ocr": False}}
    plan = made_plan(
        VariantChoice(name="audio float32", stages=(Stage.TRANSCRIBE, Stage.ENRICH), compute_type="float32"),
        VariantChoice(name="audio int8", stages=(Stage.TRANSCRIBE, Stage.ENRICH), compute_type="int8"),
        VariantChoice(name="vision float32", stages=(Stage.ANALYZE,), compute_type="float32"),
        VariantChoice(name="vision bfloat16", stages=(Stage.ANALYZE,), compute_type="bfloat16"),
        VariantChoice(name="vision blind", stages=(Stage.ANALYZE,), parameters=blind),
        repeats=1)
    bench.begin(plan)
    path = bench.archive / "statement.mp4"; shutil.copy2("/work/main/build/demo/statement.mp4", path); path.chmod(0o644)
    st = path.stat(); aid = hashlib.sha256(path.read_bytes()).hexdigest()
    shard = Shard(items=(ShardItem(asset_id=aid, root="archive", path=path.name, size_bytes=st.st_size, mtime_ns=st.st_mtime_ns),), stages=plan.stages)
    bench.run_folder.write_shard(shard)
    print(bench.measure())
    found = conclude(bench.database, bench.folder, BENCHMARK_DAG_ID, "run")
    Path("/tmp/nr/h/m_real.md").write_text(write_markdown(found.header, found.measured))
