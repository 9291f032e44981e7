"""`tests.bench.compare_devices`: settings and the document; running it takes models and minutes."""

from pathlib import Path

import pytest

from stage_contract.vocabulary import Stage, Variant
from tests.bench.compare_devices import MARKS, read_setting, write_between_marks
from tests.bench.stage_process import Setting

GPU = "GPU-00000000-0000-0000-0000-000000000000"


def test_a_setting_takes_the_defaults_of_production() -> None:
    assert read_setting(Stage.ANALYZE, "cpu") == Setting(Variant.CPU, "float32", 8)
    assert read_setting(Stage.ANALYZE, "cuda", GPU) == Setting(Variant.CUDA, "float16", 16, GPU)


def test_a_setting_may_name_its_compute_type() -> None:
    assert read_setting(Stage.TRANSCRIBE, "cpu:float32").name == "cpu float32"


def test_another_device_than_these_is_refused() -> None:
    with pytest.raises(ValueError, match="tpu"):
        read_setting(Stage.TRANSCRIBE, "tpu")


def test_only_what_stands_between_the_marks_is_written_anew(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    write_between_marks(document, "new")
    write_between_marks(document, "newer")
    assert document.read_text() == f"before\n{MARKS[0]}\n\nnewer\n\n{MARKS[1]}\nafter\n"


def test_a_document_without_marks_stays_as_it_is(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text("before\n")
    with pytest.raises(ValueError, match="must have the lines"):
        write_between_marks(document, "new")
    assert document.read_text() == "before\n"
