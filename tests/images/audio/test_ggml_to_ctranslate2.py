"""The converter as the image's build runs it, on small models made up for the test, and on bad files."""

import json

import pytest

from tests.images.audio.conversion import CONVERT, convert, in_image


@pytest.mark.parametrize(
    ("vocabulary", "multilingual", "languages", "end_of_text"),
    [(51_864, False, 0, 50_256), (51_865, True, 99, 50_257), (51_866, True, 100, 50_257)],
)
def test_a_model_loads_with_its_languages(tmp_path, vocabulary, multilingual, languages, end_of_text):
    done = convert(tmp_path, "--vocabulary", str(vocabulary))
    assert done.exit_code == 0, done.stderr
    described = in_image(tmp_path, "/tests/describe_model.py", "/made/models/whisper")
    assert described.exit_code == 0, described.stderr
    model = json.loads(described.stdout)
    assert model["multilingual"] is multilingual
    assert model["languages"] == languages
    assert model["probability"] == pytest.approx(1.0 if multilingual else 0.0, abs=0.01)
    assert model["vocabulary"] == vocabulary
    assert model["end_of_text"] == end_of_text
    assert model["first_time"] == vocabulary - 1501
    assert model["round_trip"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tensor-type", "8"], "which is quantized"),
        (["--cut", "1000"], "must be complete"),
        (["--without", "encoder.ln_post.bias"], "must hold encoder.ln_post.bias"),
        (["--vocabulary", "52000"], "leaves 1 to 100 ids for languages"),
    ],
)
def test_a_model_that_cannot_be_used_stops_the_build_with_a_reason(tmp_path, options, message):
    done = convert(tmp_path, *options)
    assert done.exit_code == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_of_another_format_is_named_as_such(tmp_path):
    (tmp_path / "fetched" / "whisper").mkdir(parents=True)
    (tmp_path / "fetched" / "whisper" / "model.bin").write_bytes(b"GGUF" + bytes(100))
    (tmp_path / "fetched" / "converters.json").write_text('{"whisper": "ggml-to-ctranslate2"}')
    done = in_image(tmp_path, *CONVERT, "--fetched", "/made/fetched", "--models", "/made/models")
    assert done.exit_code == 1
    assert "not GGUF" in done.stderr


def test_an_unconverted_model_must_hold_all_files_that_whisper_needs(tmp_path):
    done = convert(tmp_path, converter=None)
    assert done.exit_code == 1
    assert "lacks config.json, model.bin" in done.stderr


def test_an_unknown_converter_is_refused(tmp_path):
    done = convert(tmp_path, converter="onnx-to-nothing")
    assert done.exit_code == 1
    assert "must be one of ggml-to-ctranslate2" in done.stderr


def test_the_int8_copy_is_what_ctranslate2_makes_of_the_model_when_it_loads(tmp_path):
    done = convert(tmp_path, "--vocabulary", "51864")
    assert done.exit_code == 0, done.stderr
    compared = in_image(tmp_path, "/tests/compare_int8.py", "/made/models/whisper")
    assert compared.exit_code == 0, compared.stderr
    assert compared.stdout.strip() == "equal"
