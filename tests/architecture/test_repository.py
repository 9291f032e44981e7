"""Rules of the house that no other tool checks, over every file of the repository."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from console.settings import ENTRIES

REPOSITORY = Path(__file__).resolve().parents[2]
MOST_LINES = 400
LONGER: dict[str, str] = {}
"""Python files that may be longer, with the reason."""

# Names of registries come from the machine's own settings. They are put together here so that this file names none.
REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("debian", "org"),
        ("npmjs", "org"),
        ("docker", "io/"),
        ("ghcr", "io"),
        ("quay", "io"),
        ("gcr", "io"),
    )
]
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#]+)(?:#[^)]*)?\)")
SETTING = re.compile(r"`((?:NIGHTREEL|AIRFLOW|POSTGRES|MEDIA)_[A-Z_]+)`")


def repository_files() -> list[Path]:
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    files = [REPOSITORY / name for name in done.stdout.split("\0") if name]
    return [file for file in files if file.is_file()]


FILES = repository_files()
SOURCES = [file for file in FILES if file.suffix == ".py"]


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text()))


def containing(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name_of(path)}:{number}: {line.strip()[:100]}"
        for path in FILES
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if pattern.search(line)
    ]


def test_python_files_are_short() -> None:
    long = {name_of(path) for path in SOURCES if len(path.read_text().splitlines()) > MOST_LINES}
    assert long == set(LONGER), f"at most {MOST_LINES} lines: a longer file holds two ideas; split it"


def test_no_image_is_named_by_a_tag_that_moves() -> None:
    assert not containing(re.compile(r"[\w}]:la" + r"test\b"))


def test_nothing_is_pickled() -> None:
    imported = [
        f"{name_of(path)} imports {module}"
        for path in SOURCES
        for node in nodes(path)
        for module in imported_modules(node)
        if module.split(".")[0] in {"pickle", "cloudpickle", "dill", "shelve", "marshal"}
    ]
    assert not imported


def imported_modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def test_every_except_names_what_it_catches() -> None:
    bare = [
        f"{name_of(path)}:{node.lineno}"
        for path in SOURCES
        for node in nodes(path)
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert not bare


def test_only_tests_assert() -> None:
    asserts = [
        f"{name_of(path)}:{node.lineno}"
        for path in SOURCES
        if path.relative_to(REPOSITORY).parts[0] != "tests"
        for node in nodes(path)
        if isinstance(node, ast.Assert)
    ]
    assert not asserts


def test_no_registry_is_named() -> None:
    assert not containing(re.compile("|".join(map(re.escape, REGISTRIES))))


def test_nothing_is_left_for_later() -> None:
    assert not containing(UNFINISHED)


def test_links_between_documents_lead_somewhere() -> None:
    dead = [
        f"{name_of(path)} -> {target}"
        for path in FILES
        if path.suffix == ".md"
        for target in LINK.findall(path.read_text())
        if not (path.parent / target).exists()
    ]
    assert not dead


def test_every_image_is_described() -> None:
    images = {path.parts[1] for path in map(Path, map(name_of, FILES)) if path.parts[0] == "images" and path.parts[2:]}
    assert not [image for image in sorted(images) if not (REPOSITORY / "images" / image / "README.md").is_file()]


def test_every_make_target_has_a_help_line() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    described = re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE)
    assert sorted(phony.split()) == sorted(described)
    assert set(described) == set(re.findall(r"^([a-z-]+):(?!=)", makefile, re.MULTILINE))


def test_every_setting_in_the_manual_exists() -> None:
    named = set(SETTING.findall((REPOSITORY / "docs" / "operations.md").read_text()))
    assert named
    assert named <= {entry.name for entry in ENTRIES}


def test_every_make_command_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## \S", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    documents = [path for path in FILES if path.suffix == ".md"]
    named = {target for path in documents for target in re.findall(r"`make ([a-z-]+)", path.read_text())}
    assert named <= targets
