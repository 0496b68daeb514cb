"""Finding and making Gymnasium environments: registered ones by id, and those of a user's own factory."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator

from burnish.errors import InputError, RunError
from burnish.simulators.off_screen import choose_backend
from burnish.simulators.settings import SimulatorConfig, parse_kwargs

PREFIX = "gym:"
"""What the name of a registered environment's task begins with."""
_PACKAGES = {"ALE": "ale-py"}
"""Packages that are not named like their namespace."""
_RESERVED = ("id", "render_mode", "max_episode_steps", "disable_env_checker")


def check_gym_task(task: str) -> None:
    """Check that an environment is registered, or that a factory can be imported; nothing is made yet.

    Raises:
        InputError: it is not, or it cannot.
    """
    if task.startswith(PREFIX):
        _registered(task)
    else:
        _factory(task)


def make(task: str, settings: SimulatorConfig) -> tuple[gymnasium.Env[Any, Any], int | None]:
    """A new environment without a time limit, and its own time limit in steps where it has one.

    Raises:
        InputError: there is none of this name, or it cannot be made with these arguments.
    """
    arguments = parse_kwargs(settings.env_kwargs)
    for name in _RESERVED:
        if name in arguments:
            raise InputError(f"env_kwargs: '{name}' is decided by Burnish (a time limit is config.simulator.max-steps)")
    # Environments that draw with pygame or MuJoCo want a screen otherwise.
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    with contextlib.suppress(RunError):
        choose_backend()
    try:
        env = _make_registered(task, arguments) if task.startswith(PREFIX) else _make_own(task, arguments)
    except InputError:
        raise
    except Exception as error:
        # The environment's own code: whatever it raises, it cannot be used like this.
        words = " ".join(settings.env_kwargs) or "none"
        reason = " ".join(str(error).split())
        raise InputError(
            f"{task} cannot be made: {type(error).__name__}: {reason} (config.simulator.env-kwargs: {words})"
        ) from error
    _follow(env, arguments)
    return _without_limit(env)


def registered_ids() -> list[str]:
    """The registered environments that `gym:` can name, as tasks; older versions of the same are left out."""
    newest: dict[tuple[str | None, str], EnvSpec] = {}
    for spec in gymnasium.registry.values():
        key = (spec.namespace, spec.name)
        if key not in newest or (spec.version or 0) > (newest[key].version or 0):
            newest[key] = spec
    return sorted(PREFIX + spec.id for spec in newest.values())


def module_exists(name: str) -> bool:
    """Whether a module can be found, beside the installed ones in the working directory."""
    if name.split(".")[0] in sys.stdlib_module_names:
        return False  # no environments there, and functions that should not be called
    for _ in range(2):
        try:
            if importlib.util.find_spec(name) is not None:
                return True
        except (ImportError, ValueError):
            pass
        if os.getcwd() in sys.path:
            break
        # The command's script does not look there, unlike `python -m`.
        sys.path.append(os.getcwd())
    return False


def _registered(task: str) -> EnvSpec:
    module, _, name = task.removeprefix(PREFIX).rpartition(":")
    namespace = name.rpartition("/")[0]
    # A package registers its environments when it is imported; its namespace is usually its name.
    for wanted in (module, namespace):
        if wanted and name not in gymnasium.registry and module_exists(wanted):
            try:
                importlib.import_module(wanted)
            except Exception as error:
                raise InputError(
                    f"{task}: the module '{wanted}' does not load: {type(error).__name__}: {error}"
                ) from error
    if module and not module_exists(module):
        raise InputError(f"{task}: no module '{module}' is installed")
    if name not in gymnasium.registry:
        raise InputError(f"no Gymnasium environment '{name}' is registered{_hint(name, namespace)}")
    return gymnasium.registry[name]


def _hint(name: str, namespace: str) -> str:
    known = {task.removeprefix(PREFIX).rpartition("-v")[0].lower(): task for task in registered_ids()}
    stem = (name.rpartition("-v")[0] or name).lower()
    near = [known[match] for match in difflib.get_close_matches(stem, known, n=4, cutoff=0.6)]
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    if namespace and not any(spec.namespace == namespace for spec in gymnasium.registry.values()):
        package = _PACKAGES.get(namespace, namespace.replace("_", "-"))
        return f"{hint}; its package may be missing: pip install {package}"
    return hint or "; burnish tasks gym lists what is, gym:MODULE:ID imports a module that registers more"


def _make_registered(task: str, arguments: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    spec = _registered(task)
    entry = spec.entry_point
    creator = load_env_creator(entry) if isinstance(entry, str) else entry
    if "render_mode" not in spec.kwargs and _draws(creator):
        arguments = {**arguments, "render_mode": "rgb_array"}
    return gymnasium.make(spec.id, disable_env_checker=True, **arguments)


def _follow(env: gymnasium.Env[Any, Any], arguments: dict[str, Any]) -> None:
    """Have Gymnasium's MuJoCo environments drawn by their camera that goes along, `track`, unless a camera was asked
    for: since Gymnasium 1.4 theirs stands still, and what walks leaves its pictures."""
    renderer = getattr(env.unwrapped, "mujoco_renderer", None)
    if renderer is None or {"camera_name", "camera_id", "default_camera_config"} & arguments.keys():
        return
    mujoco = importlib.import_module("mujoco")
    camera = mujoco.mj_name2id(renderer.model, mujoco.mjtObj.mjOBJ_CAMERA, "track")
    if camera != -1:
        renderer.camera_id = camera


def _draws(creator: Any) -> bool:
    metadata = getattr(creator, "metadata", None)
    return isinstance(metadata, dict) and "rgb_array" in metadata.get("render_modes", ())


def _make_own(task: str, arguments: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    factory = _factory(task)
    try:
        takes_mode = "render_mode" in inspect.signature(factory).parameters
    except (TypeError, ValueError):
        takes_mode = False
    env: Any = factory(**arguments, **({"render_mode": "rgb_array"} if takes_mode else {}))
    if not isinstance(env, gymnasium.Env):
        raise InputError(f"{task} returned a {type(env).__name__}, expected a gymnasium.Env")
    return env


def _factory(task: str) -> Callable[..., Any]:
    module, _, function = task.partition(":")
    if not module_exists(module):
        raise InputError(f"{task}: no module '{module}' is installed or in the working directory")
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:
        raise InputError(f"{task}: the module '{module}' does not load: {type(error).__name__}: {error}") from error
    for name in function.split("."):
        if not hasattr(found, name):
            raise InputError(f"{task}: '{module}' has no '{function}'")
        found = getattr(found, name)
    if not callable(found):
        raise InputError(f"{task}: '{function}' is a {type(found).__name__}, expected a factory of environments")
    return found


def _without_limit(env: gymnasium.Env[Any, Any]) -> tuple[gymnasium.Env[Any, Any], int | None]:
    """The environment without an outermost time limit (Burnish has its own), and that limit."""
    limit = env.spec.max_episode_steps if env.spec is not None else None
    if isinstance(env, gymnasium.wrappers.TimeLimit):
        return env.env, limit or env._max_episode_steps
    return env, limit
