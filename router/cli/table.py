"""Tables for people: aligned, never cut, readable in a pipe too."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


def table_text(columns: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[str] = ()) -> str:
    """The rows under their columns; numbers to the right, the columns named in ``left`` to the left."""
    widths = [max(len(row[index]) for row in (columns, *rows)) for index in range(len(columns))]
    lines = [
        "  ".join(
            cell.ljust(width) if name in left else cell.rjust(width)
            for name, cell, width in zip(columns, row, widths, strict=True)
        ).rstrip()
        for row in (columns, *rows)
    ]
    return "\n".join(lines)


def shown(name: str | None) -> str:
    """A name that a caller may have chosen, as it can stand on a terminal."""
    return "-" if name is None else name if name.isprintable() else ascii(name)
