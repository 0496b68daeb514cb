"""Hooks of MkDocs: what the site has beside `docs/`.

The result pages of `benchmarks/results/` become its pages, links between them and `docs/` are mended (they also have to
work where the repository is read without the site), and every error message of the package is listed for the search.
"""

import ast
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
ERRORS = ("InputError", "RunError")


def on_files(files: Files, config: Any) -> Files:
    """Add the result pages with their pictures, and the list of errors."""
    for path in sorted(RESULTS.iterdir()):
        if path.suffix in (".md", ".png"):
            files.append(File.generated(config, f"results/{path.name}", abs_src_path=str(path)))
    files.append(File.generated(config, "errors.md", content=error_page()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links into the results and out of them; what the site does not have (scripts) stays as its words alone."""
    if page.file.src_uri.startswith("results/"):
        markdown = re.sub(r"\]\(\.\./\.\./docs/", "](../", markdown)
        return re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]*\.(?:py|json|sh)\)", r"\1", markdown)
    return markdown.replace("](../benchmarks/results/", "](results/")


def error_page() -> str:
    """Every message with which the package raises an error of its own, by file; what varies is an ellipsis."""
    lines = ["# All error messages", "", "Generated from the source. `…` stands for what was found.", ""]
    for path in sorted((ROOT / "burnish").rglob("*.py")):
        found = list(dict.fromkeys(messages(path)))
        if found:
            lines += [f"## `{path.relative_to(ROOT / 'burnish')}`", "", *(f"- {each}" for each in found), ""]
    return "\n".join(lines)


def messages(path: Path) -> list[str]:
    """The texts of `raise InputError(text)` and `raise RunError(text)` in a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args):
            continue
        text = template(node.exc.args[0])
        if getattr(node.exc.func, "id", "") in ERRORS and text.strip(" …:"):
            found.append(re.sub(r"([<>*_`\[\]{}|\\])", r"\\\1", text))
    return found


def template(node: ast.expr) -> str:
    """A string's text, with an ellipsis for every part that is computed."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(template(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return template(node.left) + template(node.right)
    return "…"
