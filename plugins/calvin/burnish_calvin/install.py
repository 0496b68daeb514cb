"""Finding calvin_env, which the user installs, and reading its configuration."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from pathlib import Path
from typing import Any

from burnish.errors import InputError

HOW = (
    "git clone https://github.com/mees/calvin_env, pip install pybullet numpy-quaternion gitpython omegaconf scipy, "
    "and put the clone on PYTHONPATH (docs/calvin.md)"
)
_PACKAGES = ("pybullet", "quaternion", "git", "omegaconf", "scipy")


def check_installed() -> None:
    """Check that calvin_env and what it needs can be imported.

    Raises:
        InputError: they cannot; says how to install them.
    """
    calvin_root()
    for name in _PACKAGES:
        if importlib.util.find_spec(name) is None:
            raise InputError(f"CALVIN is not installed completely (no module '{name}'): {HOW}")


@functools.cache
def calvin_root() -> Path:
    """The folder of calvin_env's checkout, with `conf/` and `data/` beside the Python package.

    Raises:
        InputError: calvin_env is not installed, or without its configuration and meshes.
    """
    spec = importlib.util.find_spec("calvin_env")
    if spec is None or spec.origin is None:
        raise InputError(f"CALVIN is not installed (no module 'calvin_env'): {HOW}")
    root = Path(spec.origin).parents[1]
    for part in ("conf/scene", "data"):
        if not (root / part).is_dir():
            raise InputError(f"{root}: calvin_env has no '{part}' here; use its whole checkout: {HOW}")
    return root


@functools.cache
def configuration() -> dict[str, Any]:
    """calvin_env's own settings of the robot, of scene D and of the tasks, as plain dictionaries."""
    check_installed()
    omega: Any = importlib.import_module("omegaconf").OmegaConf
    root = calvin_root()
    robot = omega.merge(*(omega.load(root / "conf" / "robot" / f"{n}.yaml") for n in ("panda", "panda_longer_finger")))
    robot.pop("defaults")
    scene = omega.load(root / "conf" / "scene" / "calvin_scene_D.yaml")
    # The files refer to each other by these names.
    whole = omega.create({"data_path": str(root / "data"), "robot": robot, "scene": scene})
    plain = omega.to_container(whole, resolve=True)
    tasks = omega.to_container(omega.load(root / "conf" / "tasks" / "new_playtable_tasks.yaml"))
    parts = {"robot": plain["robot"], "scene": plain["scene"]}
    return {
        **{name: {k: v for k, v in part.items() if k != "_target_"} for name, part in parts.items()},
        "tasks": tasks["tasks"],
    }
