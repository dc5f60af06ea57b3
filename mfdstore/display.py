"""Text and HTML for notebooks: tables of what was counted, safe whatever the words in them are."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

LONGEST: Final = 60
"""Signs of a word that are shown."""
_CELL: Final = "padding:1px 12px 1px 0;border:none;text-align:"


def plain(text: str, most: int = LONGEST) -> str:
    r"""Make a word fit for one line: signs that steer a terminal are spelt out, and what is long is cut.

    >>> print(plain("K562" + chr(27) + "[31m"), plain("a" * 100, 9))
    K562\x1b[31m aaaaaaaa…
    """
    shown = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text[: most + 1])
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table in columns of even width; `head` names them. Columns of numbers end on one line.

    >>> print(text_table(["chromosome", "train"], [["chr1", "9"], ["chr2", "1,000"]]))
    chromosome  train
    chr1            9
    chr2        1,000
    """
    cells = [[plain(cell, 2 * LONGEST) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    signs = [">" if is_number else "<" for is_number in _numbers(rows, len(head))]
    return "\n".join(
        "  ".join(
            f"{cell:{sign}{width}}" for cell, sign, width in zip(row, signs, widths, strict=True)
        ).rstrip()
        for row in cells
    )


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table as HTML, without names of columns if `head` is empty; every cell is escaped."""
    sides = [
        "right" if is_number else "left"
        for is_number in _numbers(rows, len(head) or max(map(len, rows), default=0))
    ]

    def line(tag: str, row: Sequence[str]) -> str:
        cells = (
            f'<{tag} style="{_CELL}{side}">{html_text(cell, 2 * LONGEST)}</{tag}>'
            for cell, side in zip(row, sides, strict=True)
        )
        return f"<tr>{''.join(cells)}</tr>"

    top = f"<thead>{line('th', head)}</thead>" if head else ""
    body = "".join(line("td", row) for row in rows)
    return f'<table style="border:none">{top}<tbody>{body}</tbody></table>'


def _numbers(rows: Sequence[Sequence[str]], n_columns: int) -> list[bool]:
    """Say of each column whether it holds nothing but counts."""
    return [all(row[column].replace(",", "").isdigit() for row in rows) for column in range(n_columns)]


def html_text(text: str, most: int = 4 * LONGEST) -> str:
    """Escape a line of text for HTML."""
    return escape(plain(text, most))


def html_fold(title: str, content: str, *, is_open: bool = False) -> str:
    """Put HTML under a title that opens and shuts."""
    summary = f'<summary style="cursor:pointer">{html_text(title)}</summary>'
    return f'<details style="margin:6px 0"{" open" if is_open else ""}>{summary}{content}</details>'


def html_box(title: str, *parts: str) -> str:
    """Put HTML under a heading, in the colours of the notebook."""
    return f"<div><strong>{html_text(title)}</strong>{''.join(parts)}</div>"
