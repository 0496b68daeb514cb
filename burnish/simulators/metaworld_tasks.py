"""Meta-World's tasks by name."""

from __future__ import annotations

import difflib
from typing import Any

from burnish.errors import InputError


def _env_classes() -> dict[str, Any]:
    try:
        from metaworld.env_dict import ENV_CLS_MAP
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] in ("metaworld", "mujoco"):
            raise InputError(
                f"Meta-World is not installed (no module '{error.name}'): pip install -e '.[metaworld]'"
            ) from error
        raise
    return dict(ENV_CLS_MAP)


def metaworld_tasks() -> tuple[str, ...]:
    """The names of all 50 Meta-World v3 tasks, sorted.

    Raises:
        InputError: Meta-World is not installed.
    """
    return tuple(sorted(_env_classes()))


def task_class(task: str) -> Any:
    """Meta-World's environment class of a task.

    Args:
        task: for instance `drawer-open-v3`.

    Raises:
        InputError: no such task (the message lists near matches), or Meta-World is not installed.
    """
    classes = _env_classes()
    if task not in classes:
        raise InputError(f"unknown Meta-World task '{task}'{_suggestion(task, tuple(classes))}")
    return classes[task]


def _suggestion(task: str, names: tuple[str, ...]) -> str:
    # Older papers write drawer-open-v2, and people forget the suffix: compare the stems.
    stem = task.removesuffix("-v1").removesuffix("-v2").removesuffix("-v3").replace("_", "-").lower()
    stems = {name.removesuffix("-v3"): name for name in names}
    close = [stems[match] for match in difflib.get_close_matches(stem, stems, n=5, cutoff=0.5)]
    if not close:
        close = sorted(names)
    return f"; did you mean {' or '.join(close)}?" if len(close) < 6 else f"; the tasks are: {', '.join(close)}"
