"""An object of the user's own that acts: `module:factory` gives it."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from burnish.components import check_allowed
from burnish.errors import InputError
from burnish.policies.given.base import Given

_MADE: dict[str, Any] = {}


def as_chunks(found: Any, rows: int, place: str) -> Float[Tensor, "B T A"]:
    """What a batch of decisions gave, as (B, T, A); InputError where it is no chunk of finite numbers."""
    try:
        array = np.asarray(found, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"{place}: found a {type(found).__name__}, expected an array of actions: {error}") from None
    if array.ndim == 2:
        array = array[:, None]
    if array.ndim != 3 or len(array) != rows or array.size == 0 or not np.isfinite(array).all():
        raise InputError(
            f"{place}: found an array of shape {array.shape[1:]} for one observation, expected finite actions, (A,) or "
            "(T, A)"
        )
    return torch.from_numpy(array)


class FunctionPolicy(Given):
    """Asks an object with `act(observation) -> (A,) or (T, A)`; observations are dicts of float32 arrays (D,), and of
    pictures uint8 (H, W, 3) where the run's models look at some.

    It must decide from the observation alone. Where it also has `act_batch`, that is asked, with arrays (B, …), for
    (B, T, A): one observation at a time is slow.

    Args:
        source: `module:factory`; the factory is called without arguments, once.
        action_dim: A.
        chunk: the actions of one decision.
    """

    inputs, frames, learns = None, 1, False

    def __init__(self, source: str, action_dim: int, chunk: int) -> None:
        super().__init__()
        self.source, self.action_dim, self.chunk = source, action_dim, chunk

    @classmethod
    def asked(cls, source: str, observation: Mapping[str, Tensor]) -> "FunctionPolicy":
        """With the sizes of what it answers to `observation` (B, 1, …); InputError where it is no policy."""
        found = _decide(source, observation)
        return cls(source, found.shape[2], found.shape[1])

    def plan(self, observation: Mapping[str, Tensor]) -> Float[Tensor, "B T_a A"]:
        """What the object answers."""
        found = _decide(self.source, observation)
        if tuple(found.shape[1:]) != (self.chunk, self.action_dim):
            raise InputError(
                f"the policy '{self.source}': found actions of shape {tuple(found.shape[1:])}, expected "
                f"{(self.chunk, self.action_dim)}, as at first"
            )
        return found.to(next(iter(observation.values())).device)


def source_file(source: str) -> Path | None:
    """The file that the object's class is from, on which results depend; None where there is none."""
    kind = type(_object(source))
    try:
        found = inspect.getsourcefile(kind)
    except TypeError:
        return None
    return None if found is None else Path(found).absolute()


def _decide(source: str, observation: Mapping[str, Tensor]) -> Float[Tensor, "B T A"]:
    policy = _object(source)
    batch = {key: values[:, -1].detach().cpu().numpy() for key, values in observation.items()}
    rows = len(next(iter(batch.values())))
    place = f"the policy '{source}'"
    if hasattr(policy, "act_batch"):
        return as_chunks(policy.act_batch(batch), rows, place)
    single = [policy.act({key: values[row] for key, values in batch.items()}) for row in range(rows)]
    return as_chunks(single, rows, place)


def _object(source: str) -> Any:
    check_allowed(source)
    if source not in _MADE:
        module, _, name = source.partition(":")
        try:
            factory: Callable[[], Any] = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise InputError(
                f"the policy '{source}': {error}; expected a function or class of a module that is found (PYTHONPATH)"
            ) from error
        made = factory()
        if not callable(getattr(made, "act", None)):
            raise InputError(
                f"the policy '{source}' gives a {type(made).__name__}, expected an object with act(observation)"
            )
        _MADE[source] = made
    return _MADE[source]
