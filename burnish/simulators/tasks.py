"""A task's name chooses the suite, here and nowhere else.

`drawer-open-v3` or `metaworld:drawer-open-v3` (Meta-World), `gym:ID` (any registered Gymnasium environment),
`module:function` (a factory of the user's own), and `NAME:TASK` for the suites that installed packages announce with an
entry point of the group `burnish.suites`.
"""

from __future__ import annotations

import functools
import re
from importlib.metadata import EntryPoint, entry_points

from burnish.errors import InputError
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.suite import Suite

GROUP = "burnish.suites"
"""The group of entry points under which packages announce their suites: `name = "module:SUITE"`."""
DEFAULT = "metaworld"
"""The suite of names without a prefix."""
_BUILT_IN = (DEFAULT, "gym")
_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def suite_of(task: str) -> Suite:
    """The suite that a task's name chooses; whether it has that task, `check_task` says.

    Raises:
        InputError: no such suite, or its package is broken.
    """
    prefix, colon, _ = task.partition(":")
    if not colon:
        return _suite(DEFAULT)
    if prefix in suite_names():
        return _suite(prefix)
    from burnish.simulators.gym_making import module_exists

    if _FACTORY.fullmatch(task) and module_exists(prefix):
        return _suite("gym")
    raise InputError(
        f"unknown suite '{prefix}' of the task '{task}': the suites are {', '.join(suite_names())} (others come with "
        f"their own packages), and no module '{prefix}' with a factory of environments can be imported"
    )


def check_task(task: str) -> str:
    """Check that a task exists and that its simulator is installed.

    Returns:
        The task's name as results keep it: `drawer-open-v3` for `metaworld:drawer-open-v3`.

    Raises:
        InputError: it does not (the message lists near matches), or it is not.
    """
    name = task.removeprefix(DEFAULT + ":")
    suite_of(name).check_task(name)
    return name


def resolve(task: str, settings: SimulatorConfig) -> SimulatorConfig:
    """A task's settings with everything said and checked (`Suite.resolve`)."""
    return suite_of(task).resolve(task, settings)


def names_code(task: str) -> bool:
    """Whether a task's name makes Burnish import a module and call what is in it: only who names it may want that."""
    return suite_of(task).name == "gym" and ":" in task.removeprefix("gym:")


def suite_names() -> tuple[str, ...]:
    """The suites that are installed, the built-in ones first."""
    return (*_BUILT_IN, *sorted(set(_announced()) - set(_BUILT_IN)))


def as_table(suite: str | None = None) -> str:
    """The suites, what each can do and its tasks, as lines of text for people.

    Args:
        suite: only this one, with every task; by default all, with a few tasks each.

    Raises:
        InputError: no such suite, or (when it was named) it is not installed.
    """
    if suite is not None:
        if suite not in suite_names():
            raise InputError(f"unknown suite '{suite}'; the suites are: {', '.join(suite_names())}")
        one = _suite(suite)
        return "\n".join([_headline(one), *(f"  {task}" for task in one.tasks())])
    lines = []
    for name in suite_names():
        try:
            one = _suite(name)
            tasks = list(one.tasks())
        except InputError as error:
            lines.append(f"{name}: not usable: {error}")
            continue
        more = f", … ({len(tasks)} tasks: burnish tasks {name})" if len(tasks) > 3 else ""
        lines += [_headline(one), f"  {', '.join(tasks[:3])}{more}"]
    own = "module:function: your own factory of a gymnasium.Env, for instance mypkg.envs:make_env"
    return "\n".join([*lines, own])


def _headline(suite: Suite) -> str:
    return f"{suite.name} ({suite.title}): {', '.join(suite.abilities) or 'plays tasks only'}"


@functools.cache
def _suite(name: str) -> Suite:
    # Imported late, like the simulators themselves.
    if name == DEFAULT:
        from burnish.simulators.metaworld import METAWORLD

        return METAWORLD
    if name == "gym":
        from burnish.simulators.gym_suite import GYM

        return GYM
    entry = _announced()[name]
    origin = f"{entry.dist.name} ({entry.value})" if entry.dist else entry.value
    try:
        suite = entry.load()
    except Exception as error:
        # Other people's code: whatever it raises means that the suite cannot be used.
        raise InputError(f"the suite '{name}' of {origin} does not load: {type(error).__name__}: {error}") from error
    if not isinstance(suite, Suite) or suite.name != name:
        found = f"a suite named '{suite.name}'" if isinstance(suite, Suite) else f"a {type(suite).__name__}"
        raise InputError(f"the suite '{name}' of {origin}: found {found}, expected a burnish Suite of that name")
    return suite


def _announced() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
