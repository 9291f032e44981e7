"""docs/dags.md says what the DAG files say."""

from docs.generate_dags import TARGET, write_document


def test_the_document_is_up_to_date() -> None:
    assert TARGET.read_text() == write_document(), "run `make docs`"
