"""What figures have in common: colours, style, names cut to fit, and the way from a figure to inline SVG."""

from __future__ import annotations

import io
import unicodedata
import warnings
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

COLOURS: Final = ("#1f6f8b", "#c8553d", "#6a8d3f", "#7d5a9b", "#b0892a", "#4d5b68")
"""Of runs and of assays, in order; readable side by side for the colour-blind."""
_STROKES: Final = ("-", ":", "-.", "--")
ROLE_COLOURS: Final = {"biological": "#1f6f8b", "technical": "#c8553d"}
INK: Final = "#22303c"
FAINT: Final = "#8795a1"
GRID: Final = "#e3e8ec"

STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mfd",
    "text.parse_math": False,  # metadata may hold dollar signs
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 10,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 9,
}

LABEL_WIDTH: Final = 38
"""Signs of a line beside an axis."""
_LONGEST_NAME: Final = 34


def shorten(name: str) -> str:
    """Cut a name that would not fit beside a figure, without the control characters that SVG cannot hold."""
    name = "".join(character for character in " ".join(name.split()) if _is_drawn(character))
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _is_drawn(character: str) -> bool:
    """Tell whether XML may hold a character: no controls, surrogates or noncharacters."""
    return unicodedata.category(character) not in ("Cc", "Cs") and ord(character) & 0xFFFE != 0xFFFE


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Begin a figure with one pair of axes, inches wide and high."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def line_of(index: int) -> tuple[str, str]:
    """Choose colour and stroke of a run's line: where the colours begin again, the stroke is another."""
    turn, colour = divmod(index, len(COLOURS))
    return COLOURS[colour], _STROKES[turn % len(_STROKES)]


def palette_of(names: Sequence[str | None]) -> dict[str, str]:
    """Give each name a colour; the last colour is shared by all that come too late."""
    distinct = sorted({name or "" for name in names})
    return {name: COLOURS[min(index, len(COLOURS) - 1)] for index, name in enumerate(distinct)}


def spread_dots(n: int) -> NDArray[np.float64]:
    """Shift dots of one row apart, evenly and without chance."""
    return np.zeros(1) if n == 1 else 0.26 * np.sin(2.4 * np.arange(n))


def to_svg(figure: Figure) -> str:
    """Write a figure as an svg element that fits into a page: no prolog, no fixed size, no date."""
    text = io.StringIO()
    with warnings.catch_warnings():
        # text stays text, in a font of the reader's that may well have the glyph: only its width is a guess here
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font", category=UserWarning)
        figure.savefig(
            text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    svg = text.getvalue()
    return svg[svg.index("<svg") :]
