"""What every page shares: one file, the house style sheet, its plots inside; nothing from elsewhere, no script."""

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from burnish.report.figures import Drawing

_STRICT = "default-src 'none'; style-src 'unsafe-inline'"


def whole_page(title: str, body: str, more_sources: str = "") -> str:
    """The page around `body`, which must be escaped; `more_sources` widens its Content-Security-Policy.

    The page itself forbids whatever might slip through: no script, nothing fetched.
    """
    style = files("burnish.report").joinpath("page.css").read_text(encoding="utf-8")
    policy = "; ".join(part for part in (_STRICT, more_sources) if part)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def prose(text: str) -> str:
    """Escaped text in which a number stays on one line with its percent sign or its φ."""
    return escape(text).replace(" %", "\u00a0%").replace("φ = ", "φ\u00a0=\u00a0")


def tiles_row(tiles: Sequence[tuple[str, str]]) -> str:
    """(name, value) pairs as a row of tiles."""
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{prose(value)}</dd></div>" for name, value in tiles)
    return f'<dl class="facts">{cells}</dl>'


def table(header: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """An HTML table; every column but the first `texts` is aligned as numbers. One of texts alone stacks on a phone."""
    lines = [_row("th", header, texts), *(_row("td", row, texts) for row in rows)]
    kind = ' class="words"' if texts >= len(header) > 2 else ""
    return f'<div class="scroll"><table{kind}>{"".join(lines)}</table></div>'


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table; a bar or a line break in a cell does not break it."""
    escaped = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (header, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in escaped]
    return [lines[0], "|" + "---|" * len(header), *lines[1:]]


def figure(title: str, content: str, caption: str = "") -> str:
    """A `<figure>` around escaped `content`."""
    below = f"<figcaption>{prose(caption)}</figcaption>" if caption else ""
    return f"<figure><h3>{prose(title)}</h3>{content}{below}</figure>"


def plot_figure(drawing: "Drawing", name: str) -> str:
    """The drawing as a `<figure>` with its heading and caption; `name` is a word, unique on the page."""
    from burnish.report.figures import inline_svg

    return figure(drawing.title, inline_svg(drawing, name), drawing.caption)


def _row(tag: str, cells: Sequence[str], texts: int) -> str:
    scope = ' scope="col"' if tag == "th" else ""
    kinds = ("" if column < texts else ' class="number"' for column in range(len(cells)))
    marked = "".join(f"<{tag}{scope}{kind}>{prose(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
    return f"<tr>{marked}</tr>"
