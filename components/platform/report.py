"""Self-contained HTML pages for people: text, tables and plots in one file that opens anywhere."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
table { border-collapse: collapse; margin: 1rem 0; } caption { text-align: left; color: #5b6675; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #d9dee5; text-align: left; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 1.5rem 0; } figcaption { color: #5b6675; font-size: .9rem; } svg { max-width: 100%; height: auto; }
"""


class Page:
    """An HTML page, built from top to bottom."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts: list[str] = [f"<h1>{html.escape(title)}</h1>"]
        self._figures = 0

    def heading(self, text: str) -> None:
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str) -> None:
        """One paragraph of plain text."""
        self._parts.append(f"<p>{html.escape(text)}</p>")

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> None:
        """A table; numbers are aligned to the right and written with thousands separators."""
        head = "".join(f"<th>{html.escape(str(name))}</th>" for name in headers)
        body = "".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows)
        title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
        self._parts.append(f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")

    def figure(self, figure: Figure, caption: str = "") -> None:
        """A matplotlib figure, inline as SVG."""
        self._figures += 1
        self._parts.append(
            f"<figure>{_svg(figure, self._figures)}<figcaption>{html.escape(caption)}</figcaption></figure>"
        )

    def html(self) -> str:
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(self.title)}</title>'
            f"<style>{STYLE}</style></head><body>{''.join(self._parts)}</body></html>\n"
        )


def new_figure(width: float = 8, height: float = 3) -> Figure:
    """An empty figure of `width` × `height` inches that needs no display and no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _cell(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"<td>{html.escape(str(value))}</td>"
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
    return f'<td class="number">{text}</td>'


def _svg(figure: Figure, number: int) -> str:
    import matplotlib

    buffer = io.StringIO()
    # A fixed salt and no date: the same data gives the same bytes. Element ids get the figure's number, for two
    # figures of one page must not share them.
    with matplotlib.rc_context({"svg.hashsalt": f"meditron-{number}", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    return re.sub(r'(id="|href="#|url\(#)', rf"\g<1>f{number}-", svg)
