from pathlib import Path

import pytest

from tests.bench.document import write_between_marks

MARKS = "<!-- begin: speed -->", "<!-- end: speed -->"


def test_only_what_stands_between_the_marks_is_written_anew(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    write_between_marks(document, "new", MARKS)
    write_between_marks(document, "newer", MARKS)
    assert document.read_text() == f"before\n{MARKS[0]}\n\nnewer\n\n{MARKS[1]}\nafter\n"


def test_a_document_without_marks_stays_as_it_is(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text("before\n")
    with pytest.raises(ValueError, match="must have the lines"):
        write_between_marks(document, "new", MARKS)
    assert document.read_text() == "before\n"
