"""What every page shares: one file, the house style sheet, its plots inside; nothing from elsewhere, no script."""

from html import escape
from importlib.resources import files

from burnish.report.figures import Plot, inline_svg
from burnish.report.sections import prose

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


def plot_figure(plot: Plot, name: str) -> str:
    """The plot as a `<figure>` with its heading and caption; `name` is a word, unique on the page."""
    caption = f"<figcaption>{prose(plot.caption)}</figcaption>" if plot.caption else ""
    return f"<figure><h3>{escape(plot.title)}</h3>{inline_svg(plot, name)}{caption}</figure>"
