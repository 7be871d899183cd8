"""Tables of figures."""

from collections.abc import Iterator


def table(found: Iterator[list[str]]) -> str:
    """Rows as Markdown."""
    head, *body = found
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
