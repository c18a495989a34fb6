"""Self-contained HTML pages: text, tables, charts and pictures in one file.

A page needs no network: its style, its charts (inline SVG) and its pictures (data URIs) are inside.
It follows the reader's choice of light or dark, and fits a phone.

>>> figures = table(["set", "AP"], [["val", "51.3"]])
>>> html = page("bees", [section("Figures", "Measured on 50 photos.", figures)])
>>> html.startswith("<!doctype html>"), "Measured on 50 photos." in html
(True, True)
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from tagwise.plot.style import PALETTE, drawable, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that matplotlib writes by default, and what the page's style calls them.
_THEMED = {"#000000": "var(--ink)", "#e6e6e6": "var(--line)", "#808080": "var(--soft)"}


class Markup(str):
    """Text that is HTML already. All other text is escaped where it enters a page."""

    __slots__ = ()


# ---------------------------------------------------------------------- the page and its sections


def page(title: str, sections: Iterable[str], subtitle: str = "") -> str:
    """Return a complete HTML page.

    title: its heading, also that of the browser's tab. sections: see `section`. subtitle: a line
    below the heading, such as the model, the data and the date.
    """
    style = resources.files("tagwise").joinpath("plot", "page.css").read_text(encoding="utf-8")
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>",
            f"<header><h1>{html(title)}</h1><p>{html(subtitle)}</p></header>\n<main>",
            *map(html, sections),
            "</main>\n</body>\n</html>\n",
        ]
    )


def section(title: str, *parts: str) -> Markup:
    """Return a section with a heading; parts: `Markup`, or plain text as a paragraph each."""
    inside = (part if isinstance(part, Markup) else f"<p>{html(part)}</p>" for part in parts)
    return Markup(f"<section><h2>{html(title)}</h2>\n" + "\n".join(inside) + "</section>")


def side_by_side(*parts: Markup) -> Markup:
    """Return charts or pictures in columns, as many as fit on the screen."""
    return Markup(f'<div class="charts">{"".join(parts)}</div>')


def strip(*parts: Markup) -> Markup:
    """Return small pictures in one row, which scrolls sideways where it does not fit."""
    return Markup(f'<div class="strip">{"".join(parts)}</div>')


def wide(part: Markup) -> Markup:
    """Return a wide chart, which scrolls sideways on a narrow screen instead of shrinking."""
    return Markup(f'<div class="scroll wide">{part}</div>')


def cards(figures: Iterable[tuple[str, str]]) -> Markup:
    """Return large figures, each with its name: (figure, name)."""
    inside = (
        f"<div><b>{html(value)}</b><span>{html(text)}</span></div>" for value, text in figures
    )
    return Markup(f'<div class="cards">{"".join(inside)}</div>')


def advice(items: Iterable[tuple[str, str]]) -> Markup:
    """Return a numbered list of things to do: (what to do, the reason)."""
    inside = (f"<li><b>{html(what)}</b><span>{html(why)}</span></li>" for what, why in items)
    return Markup(f'<ol class="advice">{"".join(inside)}</ol>')


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Markup:
    """Return a table, which scrolls sideways on a narrow screen.

    columns: their headings. rows: one value per column. The first column and `Markup` are aligned
    to the left, all other columns to the right, as numbers are.
    """
    rows = [list(row) for row in rows]
    left = [n == 0 or any(isinstance(row[n], Markup) for row in rows) for n in range(len(columns))]
    kinds = ["" if is_left else ' class="number"' for is_left in left]
    head = "".join(f"<th{kind}>{html(name)}</th>" for name, kind in zip(columns, kinds))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{html(v)}</td>" for v, kind in zip(row, kinds)) + "</tr>"
        for row in rows
    )
    return Markup(
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def bar(share: float) -> Markup:
    """Return a horizontal bar for a table; share: the filled part, clipped to [0, 1]."""
    width = 100 * min(max(float(share), 0.0), 1.0)
    return Markup(f'<span class="bar"><span style="width:{width:.1f}%"></span></span>')


def html(value: Any) -> str:
    """Return a value as HTML: `Markup` as it is, everything else as escaped text."""
    return value if isinstance(value, Markup) else escape(drawable(str(value)))


# ---------------------------------------------------------------------- pictures and charts


def picture(image: np.ndarray, quality: int = 85) -> str:
    """Return an image as a data URI of a JPEG; image: (H, W, 3) uint8 RGB."""
    bgr = np.ascontiguousarray(image[..., ::-1])
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def photo(image: np.ndarray, caption: str = "", quality: int = 85) -> Markup:
    """Return an image with a caption; image: (H, W, 3) uint8 RGB."""
    height, width = image.shape[:2]
    return _figure(
        f'<img src="{picture(image, quality)}" alt="{html(caption)}" '
        f'width="{width}" height="{height}" loading="lazy">',
        caption,
    )


def chart(width: float = 5.0, height: float = 3.0) -> tuple[Figure, Axes]:
    """Return a matplotlib figure in the style of a page, and its axes; sides in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    tidy(axes)
    return figure, axes


def chart_colour(number: int) -> str:
    """Return colour `number` of charts, which is readable on light and on dark pages."""
    red, green, blue = (round(0.85 * value) for value in PALETTE[number % len(PALETTE)])
    return f"#{red:02x}{green:02x}{blue:02x}"


def figure_svg(figure: Figure, caption: str = "") -> Markup:
    """Return a matplotlib figure as an inline SVG with a caption.

    Black and the light greys of axes become the colours of the page; the background is transparent.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    text = io.StringIO()
    for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
        patch.set_alpha(0)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "tagwise"}):
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for colour, name in _THEMED.items():
        svg = svg.replace(colour, name)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{html(caption)}" ', 1)
    return _figure(svg, caption)


def _figure(content: str, caption: str) -> Markup:
    below = f"<figcaption>{html(caption)}</figcaption>" if caption else ""
    return Markup(f"<figure>{content}{below}</figure>")
