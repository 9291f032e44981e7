"""Puts the models of the build context where the stage looks: `install_models.py CONTEXT_MODELS OPT_MODELS`.

Runs while the image is built. A role without files is left out of `models.json`, so that the stage
falls back to its lexicon for `sentiment`.
"""

import importlib
import json
import shutil
import sys
from pathlib import Path

MANIFEST = "models.json"
CONVERTERS_FILE = "converters.json"


def install_models(source: Path, target: Path) -> list[str]:
    """Convert each role's folder in `source` into one in `target`, or copy it; returns the roles.

    A converter is a script beside this one, with a function `convert(source, target)`.

    Raises:
        ValueError: a role asks for a converter that is not there, or the converter refuses the files.
    """
    chosen: dict[str, str | None] = json.loads((source / CONVERTERS_FILE).read_text())
    models: list[dict[str, object]] = json.loads((source / MANIFEST).read_text())
    installed = [str(model["role"]) for model in models if (source / str(model["role"])).is_dir()]
    target.mkdir(parents=True, exist_ok=True)
    for role in installed:
        name = chosen[role]
        if name is None:
            shutil.copytree(source / role, target / role)
            continue
        if not Path(__file__).with_name(f"{name}.py").is_file():
            raise ValueError(f"the converter of {role!r} must be a script in images/nlp/converters: {name!r} is none")
        importlib.import_module(name).convert(source / role, target / role)
    kept = [model for model in models if model["role"] in installed]
    (target / MANIFEST).write_text(json.dumps(kept, indent=1) + "\n")
    return installed


if __name__ == "__main__":
    print("models:", ", ".join(install_models(Path(sys.argv[1]), Path(sys.argv[2]))) or "none")
