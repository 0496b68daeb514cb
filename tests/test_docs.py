"""What README and documentation tell users to type is understood, and what they import is there."""

import ast
import importlib
import itertools
import re
import shlex
from pathlib import Path

import pytest

import burnish.flags
from burnish.cli import COMMANDS, main

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
WITHOUT_OPTIONS = ("recipes", "tasks")
NO_ARGUMENTS = ("demo", "run", "compare", "sweep")


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of this language; "" of none."""
    found: list[str] = []
    inside: str | None = None
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            inside = line[3:].strip() if inside is None else None
            found += [""] if inside == language else []
        elif inside == language:
            found[-1] += f"{line}\n"
    return found


def commands() -> list[str]:
    """Every command line of `burnish` on the pages, without the words beside it; of alternatives (a|b) each."""
    found = []
    for line in itertools.chain.from_iterable(block.splitlines() for page in PAGES for block in blocks(page, "")):
        for part in line.split(";"):
            words = re.split(r"\s{2,}|\s#", re.sub(r"^\s*(?:[A-Z_]+=\S+ )?", "", part))[0]
            if words.startswith("burnish "):
                found += alternatives(re.sub(r"[\[\]…]", "", words))
    return sorted(set(found))


def alternatives(line: str) -> list[str]:
    choices = [word.split("|") for word in line.split(" ")]
    return [" ".join(words) for words in itertools.product(*choices)]


class Understood(BaseException):
    """The command's options were read, and nothing is done."""


@pytest.fixture
def read_only(monkeypatch):
    """Commands end when their options are read."""
    parse = burnish.flags.parse

    def reading(default, args, command, kind=None):
        _, rest = parse(default, args, command, kind)
        assert not rest or command.split()[1] not in NO_ARGUMENTS, f"{rest} are no options"
        raise Understood

    monkeypatch.setattr(burnish.flags, "parse", reading)


@pytest.mark.parametrize("line", commands())
def test_every_command_is_understood(line, read_only, capsys):
    name, *arguments = shlex.split(line)[1:]
    assert name in COMMANDS
    if name in WITHOUT_OPTIONS or "--help" in arguments or arguments[:1] in (["status"], ["cancel"]):
        return
    try:
        code = main([name, *arguments])
    except Understood:
        return
    pytest.fail(f"exit code {code}: {capsys.readouterr().err}")


def test_there_are_commands_on_the_pages():
    assert len(commands()) > 40


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_the_snippets_import_is_there(page):
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("burnish"):
                if "stable_baselines" in node.module:
                    pytest.importorskip("stable_baselines3")
                module = importlib.import_module(node.module)
                assert all(hasattr(module, each.name) for each in node.names), ast.unparse(node)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """Pages and pictures beside it; the site's own build checks the rest. `errors.md` is generated for the site."""
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if link != "errors.md" and not (page.parent / link).exists()] == []


def test_the_readme_is_one_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_nobody_is_told_to_install_from_an_index():
    """Burnish is in none; extras are installed from a clone: `pip install -e '.[export]'`."""
    texts = [*PAGES, *(ROOT / "plugins").rglob("*.md"), *(ROOT / "burnish").rglob("*.py")]
    told = re.compile(r"pip install (?:-U )?['\"]?(?:burnish|lerobot_policy_burnish)\b")
    assert [path.relative_to(ROOT).as_posix() for path in texts if told.search(path.read_text())] == []
