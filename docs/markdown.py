"""Tables for the generated documents."""

from collections.abc import Sequence


def code(text: str) -> str:
    """As code, empty where there is nothing."""
    return f"`{text}`" if text else ""


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with its final newline."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [titles, ["---"] * len(titles), *cells]) + "\n"
