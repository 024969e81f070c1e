"""Plots as SVG text. matplotlib draws them; nothing else imports it, since that takes a second.

What is drawn holds no script and asks for nothing from elsewhere. Words stay words, so that a page can be searched.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import matplotlib as mpl
import matplotlib.dates
import matplotlib.ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edge.model.base import Value

COLOURS: Mapping[str, str] = {
    "succeeded": "#2e7d32",
    "failed": "#c62828",
    "rolled-back": "#ef6c00",
    "quarantined": "#6a1b9a",
    "expected-offline": "#607d8b",
}
OTHER = "#9e9e9e"
_WIDTH_IN = 9.0
_STYLE: Any = {"svg.fonttype": "none", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
_MOST_LABELS = 40
_DATES: Any = matplotlib.dates
"""Without types of its own."""
_GROUP_NAME = re.compile(r'<g id="[^"]*">')


class Bar(Value):
    """A named count."""

    name: str
    count: int


class Dot(Value):
    """One site's seconds, in the column of its wave."""

    wave: str
    seconds: float
    outcome: str


class Span(Value):
    """A stretch of time of one site or wave; `outcome` gives its colour."""

    name: str
    begin: datetime
    end: datetime
    outcome: str = ""


def plot_durations(dots: Sequence[Dot]) -> str:
    """Seconds of each site, a column per wave, with the median as a line."""
    figure, axes = _figure(3.2)
    waves = list(dict.fromkeys(dot.wave for dot in dots))
    for column, wave in enumerate(waves):
        _column(axes, column, [dot for dot in dots if dot.wave == wave])
    axes.set_xticks(range(len(waves)), [_short(wave) for wave in waves], parse_math=False)
    axes.set_ylabel("seconds")
    axes.set_ylim(bottom=0)
    return _svg(figure, "durations", "Seconds of each site by wave")


def _column(axes: Axes, column: int, dots: Sequence[Dot]) -> None:
    seconds = [dot.seconds for dot in dots]
    places = [column - 0.3 + 0.6 * (number + 0.5) / len(dots) for number in range(len(dots))]
    axes.scatter(places, seconds, s=9, c=[COLOURS.get(dot.outcome, OTHER) for dot in dots], linewidths=0)
    median = sorted(seconds)[len(seconds) // 2]
    axes.plot([column - 0.35, column + 0.35], [median, median], color="#222", linewidth=1)


def plot_counts(bars: Sequence[Bar]) -> str:
    """Horizontal bars, the largest on top."""
    figure, axes = _figure(0.8 + 0.28 * len(bars))
    names = [_short(bar.name) for bar in reversed(bars)]
    drawn = axes.barh(range(len(bars)), [bar.count for bar in reversed(bars)], color=COLOURS["failed"])
    axes.bar_label(drawn, padding=3)
    axes.set_yticks(range(len(bars)), names, parse_math=False)
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    axes.set_xlabel("sites")
    return _svg(figure, "causes", "Sites by cause")


def plot_timeline(spans: Sequence[Span]) -> str:
    """A line per span, the first on top. Names are written while there is room for them."""
    figure, axes = _figure(min(9.0, 1.2 + 0.16 * len(spans)))
    begin, end = _DATES.date2num([one.begin for one in spans]), _DATES.date2num([one.end for one in spans])
    height = max(0.8, min(5.0, 400 / len(spans)))
    colours = [COLOURS.get(one.outcome, OTHER) for one in spans]
    axes.hlines(range(len(spans)), begin, end, colors=colours, linewidth=height)
    axes.scatter(begin, range(len(spans)), s=3, c=colours, linewidths=0)
    axes.invert_yaxis()
    labels = [_short(one.name) for one in spans] if len(spans) <= _MOST_LABELS else []
    axes.set_yticks(range(len(labels)), labels, parse_math=False)
    locator = _DATES.AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(_DATES.ConciseDateFormatter(locator))
    axes.set_xlabel("UTC")
    return _svg(figure, "timeline", "When each site was worked on")


def _figure(height_in: float) -> tuple[Figure, Axes]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
        return figure, figure.subplots()


def _svg(figure: Figure, name: str, about: str) -> str:
    """The `<svg>` element alone: a page has its own head. Names are of use only where something refers to them, and
    must differ from those of other plots on the page.
    """
    out = io.StringIO()
    blank: dict[str, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure.savefig(out, format="svg", metadata=blank)
    text = out.getvalue()
    drawn = _GROUP_NAME.sub("<g>", text[text.index("<svg") :])
    return drawn.replace("<svg ", f'<svg role="img" aria-label="{about}" ', 1)


def _short(text: str) -> str:
    return text if len(text) <= _MOST_LABELS else f"{text[: _MOST_LABELS - 1]}…"
