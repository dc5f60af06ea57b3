"""Tables for notebooks, whatever the words in them."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from mfdstore.display import html_box, html_fold, html_table, plain, text_table

WORDS = st.text(max_size=80) | st.sampled_from(
    ["<script>alert(1)</script>", "\x1b[31m", "a\nb", "\u202e", "&amp;"]
)


class _Reader(HTMLParser):
    """Collects tags and the text between them, as a browser would."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert {name for name, _ in attrs} <= {"style", "open"}

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.lists(st.tuples(WORDS, WORDS), max_size=5), WORDS)
def test_html__shows_words_as_they_are_and_holds_no_tag_of_theirs(
    rows: list[tuple[str, str]], title: str
) -> None:
    page = html_box(title, html_fold(title, html_table(("a", "b"), rows)))
    read = _Reader(page)
    cells = [tag for tag in read.tags if tag in ("td", "th")]
    assert len(cells) == 2 * len(rows) + 2
    assert set(read.tags) <= {
        "div",
        "strong",
        "details",
        "summary",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    assert read.text == 2 * plain(title, 240) + "ab" + "".join(
        plain(cell, 120) for row in rows for cell in row
    )


@given(st.lists(st.tuples(WORDS, WORDS), max_size=5))
def test_text__is_a_line_a_row(rows: list[tuple[str, str]]) -> None:
    lines = text_table(("a", "b"), rows).split("\n")
    assert len(lines) == len(rows) + 1
    assert all(sign.isprintable() for line in lines for sign in line)


def test_plain__cuts_what_is_long() -> None:
    assert plain("x" * 60) == "x" * 60
    assert plain("x" * 61) == "x" * 59 + "…"
    assert plain("\n" * 60) == "\\n" * 29 + "\\…"
