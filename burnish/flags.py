"""A configuration dataclass on the command line: every setting is a flag; errors are one sentence, help is a list.

tyro reads the arguments. What it says of wrong ones is put in the words of all other errors.
"""

import ast
import contextlib
import dataclasses
import difflib
import inspect
import io
import itertools
import re
import textwrap
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from burnish.config import Range, choices
from burnish.errors import InputError

Options = TypeVar("Options")
_WIDTH = 100
_WORDS = {int: "a whole number", float: "a number", str: "text", Path: "a path", bool: "True or False"}


@dataclasses.dataclass(frozen=True)
class Setting:
    """One flag: its name, its present value, its type, what the field says of itself, and its group's first line."""

    flag: str
    value: Any
    hint: Any
    bounds: Range | None
    text: str
    group: str

    @property
    def expected(self) -> str:
        """What one may say, in words."""
        if self.bounds is None:
            return _in_words(self.hint)
        kind, bounds = _in_words(self.hint), str(self.bounds)
        return bounds.replace("a number", kind, 1) if bounds.startswith("a number") else f"{kind}, {bounds}"


def own_and_rest(default: Any, args: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments that set fields of `default`, with their values, and all others: of another command."""
    own, rest = list[str](), list[str]()
    names = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(default)}
    into = rest
    for argument in args:
        if argument.startswith("--"):
            into = own if argument.partition("=")[0] in names else rest
        into.append(argument)
    return own, rest


def parse(default: Options, args: Sequence[str], command: str, kind: Any = None) -> tuple[Options, list[str]]:
    """`default` with what the arguments change, and the arguments that are no flags.

    Args:
        default: a dataclass, which may hold others.
        args: the arguments after the command.
        command: as the user wrote it, for messages.
        kind: the default's type where that is a generic one with its parameter.

    Raises:
        InputError: an unknown flag (the message names near ones), or a value that is none.
    """
    import tyro

    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            # A field that may hold one of several dataclasses keeps the default's.
            found, rest = tyro.cli(
                kind or type(default),
                args=args,
                default=default,
                prog=command,
                return_unknown_args=True,
                config=(tyro.conf.AvoidSubcommands,),
            )
    except SystemExit:
        raise InputError(_sentence(box.getvalue(), default, args)) from None
    for argument in rest:
        if argument.startswith("-"):
            raise InputError(_unknown(argument.partition("=")[0], default, command))
    return found, rest


def listing(options: Any) -> str:
    """All flags with their values, what else they may be, and what they are for."""
    lines, group = [], None
    for setting in settings(options):
        if setting.group != group:
            group = setting.group
            lines += ["", group]
        lines += [f"  {setting.flag} {_shown(setting.value)}  ({setting.expected})"]
        lines += textwrap.wrap(setting.text, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines).strip("\n")


def settings(options: Any, prefix: str = "--") -> Iterator[Setting]:
    """All flags of a dataclass's fields and of those of the dataclasses that it holds."""
    from tyro.conf import OmitArgPrefixes

    cls = type(options)
    hints, texts = typing.get_type_hints(cls, include_extras=True), _texts(cls)
    group = (inspect.getdoc(cls) or cls.__name__).split("\n\n")[0].replace("\n", " ")
    nested = []
    for field in dataclasses.fields(options):
        name, value = field.name.replace("_", "-"), getattr(options, field.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            without = OmitArgPrefixes in getattr(hints[field.name], "__metadata__", ())
            nested.append(settings(value, prefix if without else f"{prefix}{name}."))
            continue
        bounds, text = field.metadata.get("range"), texts.get(field.name, "")
        yield Setting(f"{prefix}{name}", value, hints[field.name], bounds, text, group)
    for part in nested:
        yield from part


def _texts(cls: type[Any]) -> dict[str, str]:
    """The strings below the fields of a class and of its bases."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        with contextlib.suppress(OSError, TypeError):
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
            body = tree.body if isinstance(tree, ast.ClassDef) else []
            for field, below in itertools.pairwise(body):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(field.target, ast.Name)
                    and isinstance(below, ast.Expr)
                    and isinstance(below.value, ast.Constant)
                    and isinstance(below.value.value, str)
                ):
                    found[field.target.id] = " ".join(below.value.value.split())
    return found


def _in_words(hint: Any) -> str:
    if choices(hint):
        return f"one of {', '.join(map(str, choices(hint)))}"
    parts = [part for part in typing.get_args(hint) if part is not ...]
    if typing.get_origin(hint) is tuple:
        return f"values, each {_in_words(parts[0])}" if len(set(parts)) == 1 else ", ".join(map(_in_words, parts))
    if parts and typing.get_origin(hint) is typing.Annotated:
        return _in_words(parts[0])
    if parts:
        return " or ".join("None" if part is type(None) else _in_words(part) for part in parts)
    return _WORDS.get(hint, str(hint))


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _unknown(flag: str, options: Any, command: str) -> str:
    # The last part of a dotted name is what people remember, and where they slip.
    head, _, last = flag.replace("_", "-").removeprefix("--").rpartition(".")
    known: dict[str, list[str]] = {}
    for setting in settings(options):
        for name in _spellings(setting):
            known.setdefault(name.removeprefix("--").rpartition(".")[2], []).append(name)
    alike = difflib.get_close_matches(last, known, n=2, cutoff=0.7) or [part for part in known if part.startswith(last)]
    close = [name for part in alike for name in known[part]]
    close = ([name for name in close if head and name.startswith(f"--{head}.")] or close)[:3]
    hint = f"did you mean {' or '.join(close)}?" if close else f"{command} --help-all lists all options"
    return f"unknown option '{flag}'; {hint}"


def _spellings(setting: Setting) -> list[str]:
    head, dot, last = setting.flag.rpartition(".")
    off = f"{head}.no-{last}" if dot else f"--no-{setting.flag.removeprefix('--')}"
    return [setting.flag, off] if isinstance(setting.value, bool) else [setting.flag]


def _sentence(box: str, options: Any, args: Sequence[str]) -> str:
    """tyro's box of an error as one sentence."""
    plain = " ".join(re.sub(r"[│╭╮╰╯|+]", " ", box).split())
    # The first part is the box's title, those behind the message repeat the help.
    _, message, *_ = [*(part.strip() for part in re.split(r"[─-]{4,}", plain)), plain]
    named = re.search(r"(?:Error parsing|[Aa]rgument) '?(--[a-z][\w.-]*)", plain)
    setting = next((s for s in settings(options) if named and s.flag == named[1]), None)
    if setting is None:
        return message
    words = [part for word in args for part in (word.split("=", 1) if word.startswith("--") else [word])]
    place = max(index for index, word in enumerate(words) if word.replace("_", "-") == setting.flag)
    given = list(itertools.takewhile(lambda word: not word.startswith("--"), words[place + 1 :]))
    if not given:
        return f"{setting.flag} needs a value, expected {setting.expected}"
    value = " ".join(given) if isinstance(setting.value, tuple) else given[0]
    return f"{setting.flag} is {value!r}, expected {setting.expected}"
