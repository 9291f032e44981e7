import os

import pytest

from audio_stage.instructions import ISA_VARIABLE, use_widest


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch):
    monkeypatch.setenv(ISA_VARIABLE, "")
    monkeypatch.delenv(ISA_VARIABLE)


def cpu(tmp_path, flags):
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor : 0\nflags\t\t: {flags}\n")
    return path


def test_avx512_is_chosen_where_the_cpu_has_all_of_it(tmp_path):
    use_widest(cpu(tmp_path, "fpu avx2 avx512f avx512bw avx512cd avx512dq avx512vl"))
    assert os.environ[ISA_VARIABLE] == "AVX512"


@pytest.mark.parametrize("flags", ["fpu avx2", "fpu avx2 avx512f", ""])
def test_ctranslate2_chooses_where_it_does_not(tmp_path, flags):
    use_widest(cpu(tmp_path, flags))
    assert ISA_VARIABLE not in os.environ


def test_somebody_elses_choice_stays(tmp_path, monkeypatch):
    monkeypatch.setenv(ISA_VARIABLE, "AVX2")
    use_widest(cpu(tmp_path, "avx512f avx512bw avx512cd avx512dq avx512vl"))
    assert os.environ[ISA_VARIABLE] == "AVX2"
