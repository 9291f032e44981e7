"""Fill `/opt/models`: `python -m converters --fetched DIR --models DIR --variant cpu`.

`--fetched` holds one folder per role with the files as fetched, `models.json`, which is copied, and
`converters.json`, which names the converter of each role (null: the files are copied as they are).
Variant `cpu` gets an int8 copy of each model beside it: that is what production loads there.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from converters import ggml_to_ctranslate2
from converters.errors import ConversionError
from converters.int8_copy import write_int8_copy

MODELS_MANIFEST = "models.json"
CONVERTERS_MANIFEST = "converters.json"
CPU = "cpu"
VARIANTS = (CPU, "cuda")

# faster-whisper asks the hub for a tokenizer.json that is absent, and assumes 80 mel bands without a
# preprocessor_config.json (large-v3 has 128), so all of them have to be there.
CTRANSLATE2_FILES = ("config.json", "model.bin", "preprocessor_config.json", "tokenizer.json", "vocabulary.json")

Converter = Callable[[Path, Path], None]

CONVERTERS: dict[str, Converter] = {"ggml-to-ctranslate2": ggml_to_ctranslate2.convert}


def main() -> int:
    """Convert every role. Returns the exit code: 1 when a model cannot be used."""
    parser = argparse.ArgumentParser(description="Convert fetched models into what the stage loads.")
    parser.add_argument("--fetched", type=Path, required=True, help="models.json, converters.json, a folder per role")
    parser.add_argument("--models", type=Path, required=True, help="where the converted models go")
    parser.add_argument("--variant", choices=VARIANTS, required=True, help="the image's variant")
    arguments = parser.parse_args()
    try:
        convert_all(arguments.fetched, arguments.models, with_int8_copy=arguments.variant == CPU)
    except ConversionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def convert_all(fetched: Path, models: Path, with_int8_copy: bool) -> None:
    """Write `models/<role>/` for every role of `converters.json`, and `models/models.json`.

    Raises:
        ConversionError: a converter is unknown, or a model lacks files.
    """
    names: dict[str, str | None] = json.loads((fetched / CONVERTERS_MANIFEST).read_text())
    models.mkdir(parents=True, exist_ok=True)
    for role, name in names.items():
        _converter(role, name)(fetched / role, models / role)
        missing = [file for file in CTRANSLATE2_FILES if not (models / role / file).is_file()]
        if missing:
            raise ConversionError(
                f"a Whisper model needs {', '.join(CTRANSLATE2_FILES)}: {role} lacks {', '.join(missing)}; "
                "fetch them too, or name a converter"
            )
        if with_int8_copy:
            write_int8_copy(models / role)
    shutil.copyfile(fetched / MODELS_MANIFEST, models / MODELS_MANIFEST)


def _converter(role: str, name: str | None) -> Converter:
    if name is None:
        return _copy
    if name not in CONVERTERS:
        raise ConversionError(
            f"a converter must be one of {', '.join(CONVERTERS)}: {role} names {name!r}; correct it, or leave it out"
        )
    return CONVERTERS[name]


def _copy(fetched: Path, model: Path) -> None:
    shutil.copytree(fetched, model)


if __name__ == "__main__":
    sys.exit(main())
