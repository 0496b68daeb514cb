"""A recipe as a graph of stages: what a stage depends on is said once, by what it is called with.

    data = stage(record, "dataset", alone=True, task="drawer-open-v3", seed=0)
    world = stage(train_world_model, data=data.read(split, share=0.1), model=DiffusionConfig(), seed=0)

Nothing happens yet: `execute` does what is missing, in order. Arguments that are stages, or hold stages, are inputs:
the body gets their results, on the run's device. All others are configuration, and decide with the inputs' content
whether a stage that was done is still valid.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.config import plain_value
from burnish.errors import BurnishError, InputError

_prefix: ContextVar[str] = ContextVar("prefix", default="")
_role: ContextVar[str | None] = ContextVar("role", default=None)


class Absent(BurnishError):
    """A result that cannot be had, and why; stages that are `lenient` get it as an argument, others are absent, too."""


@dataclass(frozen=True, eq=False)
class Stage:
    """One piece of work with a result in a folder of its own; made by `stage`.

    Attributes:
        name: of the stage and of its folder, nested by slashes.
        body: `body(context, **arguments)` does the work. It returns a Component or a Dataset, or leaves files in
            `context.folder`.
        arguments: inputs and configuration.
        alone: of several processes only the first does the work, on the CPU: what uses a simulator or trains nothing.
        lenient: the body is called with `Absent` for an input that is.
        role: what the stage is there for, where its body does not say so itself (`context.record("role", …)`).
    """

    name: str
    body: Callable[..., Any]
    arguments: Mapping[str, Any]
    alone: bool = False
    lenient: bool = False
    role: str | None = None

    def read(self, function: Callable[..., Any], **settings: Any) -> "Reading":
        """The result as `function(folder, **settings)` reads it, for another stage's argument."""
        return Reading(self, function, settings)

    @property
    def folder(self) -> "Reading":
        """The folder itself, for another stage's argument."""
        return Reading(self, own_folder, {})

    @property
    def inputs(self) -> tuple["Stage | External", ...]:
        """Everything that the arguments hold of stages and of files from outside, each once, in their order."""
        found: dict[int, Stage | External] = {}
        for value in self.arguments.values():
            for each in _inputs(value):
                found.setdefault(id(each), each)
        return tuple(found.values())

    def describe(self) -> dict[str, Any]:
        """What the result depends on as plain data; of the inputs, how they are read.

        Raises:
            InputError: an argument that is neither configuration nor a stage.
        """
        described = {
            name: _described(value, f"stage '{self.name}', argument '{name}'") for name, value in self.arguments.items()
        }
        return {"body": self.body.__qualname__, **described}


@dataclass(frozen=True, eq=False)
class Reading:
    """A stage's result read in another way than as a whole."""

    stage: Stage
    function: Callable[..., Any]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class External:
    """A file or folder from outside as an argument: the body gets its path.

    Attributes:
        name: by which it is known as an input.
        path: where it lies; the same content elsewhere is the same input.
        counted: whether its content decides if a result is still valid; not where other arguments say what is read.
    """

    name: str
    path: Path = field(compare=False)
    counted: bool = True


def stage(
    body: Callable[..., Any], name: str | None = None, alone: bool = False, lenient: bool = False, **arguments: Any
) -> Stage:
    """A stage that calls `body(context, **arguments)`; its name is by default the body's."""
    return Stage(_prefix.get() + (name or body.__name__), body, arguments, alone, lenient, _role.get())


@contextlib.contextmanager
def naming(prefix: str, role: str | None = None) -> Iterator[None]:
    """Stages that are made meanwhile lie in the folder `prefix` and have a `role`: the same models, on other data."""
    tokens = _prefix.set(f"{_prefix.get()}{prefix}/"), _role.set(role)
    try:
        yield
    finally:
        _prefix.reset(tokens[0])
        _role.reset(tokens[1])


def own_folder(folder: Path) -> Path:
    """Reads nothing."""
    return folder


def ordered(targets: Sequence[Stage]) -> list[Stage]:
    """The targets and all stages that they need, each after its inputs.

    Raises:
        InputError: stages that need each other, two different ones of one name, or an argument without a hash.
    """
    done: dict[str, tuple[Stage, dict[str, Any]]] = {}
    under_way: list[str] = []

    def visit(wanted: Stage) -> None:
        if wanted.name in done and done[wanted.name][0] is wanted:
            return
        if wanted.name in under_way:
            circle = [*under_way[under_way.index(wanted.name) :], wanted.name]
            raise InputError(f"these stages need each other: {' -> '.join(circle)}")
        under_way.append(wanted.name)
        for each in wanted.inputs:
            if isinstance(each, Stage):
                visit(each)
        under_way.pop()
        description = wanted.describe()
        if wanted.name not in done:
            done[wanted.name] = wanted, description
        elif done[wanted.name][1] != description:
            raise InputError(f"two different stages are called '{wanted.name}'; give one of them another name")

    for target in targets:
        visit(target)
    return [found for found, _ in done.values()]


def map_inputs(value: Any, found: Callable[["Stage | Reading | External"], Any]) -> Any:
    """`value` with everything in it that is an input replaced by what `found` says."""
    if isinstance(value, Stage | Reading | External):
        return found(value)
    if isinstance(value, Mapping):
        return {key: map_inputs(item, found) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(map_inputs(item, found) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and any(True for _ in _inputs(value)):
        fields = {f.name: map_inputs(getattr(value, f.name), found) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    return value


def _inputs(value: Any) -> Iterator["Stage | External"]:
    if isinstance(value, External):
        if value.counted:
            yield value
    elif isinstance(value, Stage):
        yield value
    elif isinstance(value, Reading):
        yield value.stage
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _inputs(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _inputs(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for f in dataclasses.fields(value):
            yield from _inputs(getattr(value, f.name))


def _described(value: Any, where: str) -> Any:
    """Plain data for the hash and for people."""
    if isinstance(value, Stage):
        return {"stage": value.name}
    if isinstance(value, External):
        return {"outside": value.name}
    if isinstance(value, Reading):
        settings = {name: _described(item, f"{where}, '{name}'") for name, item in value.settings.items()}
        return {"stage": value.stage.name, "read": value.function.__qualname__, **settings}
    if isinstance(value, Mapping):
        return {str(key): _described(item, f"{where}, '{key}'") for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_described(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f for f in dataclasses.fields(value) if f.init]
        described = {f.name: _described(getattr(value, f.name), f"{where}, '{f.name}'") for f in fields}
        # Two families may have the same settings.
        return {"kind": type(value).__name__, **described}
    if callable(value) and "<" not in getattr(value, "__qualname__", "<"):
        return f"{value.__module__}:{value.__qualname__}"
    try:
        return plain_value(value)
    except TypeError as error:
        raise InputError(
            f"{where}: found a {type(value).__name__}, expected configuration (numbers, text, frozen dataclasses of "
            "them, functions of a module) or stages"
        ) from error
