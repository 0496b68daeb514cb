"""A policy as a robot's program wants it: named, checked observations in, actions in the data's units out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from burnish.data import STATE, is_image_key
from burnish.errors import InputError
from burnish.policies.agent import Agent


class RobotPolicy:
    """One robot, or several side by side; arrays or tensors, one observation or a batch, as they come.

        policy = burnish.load("runs/mine").policy
        policy.reset()  # an episode begins
        action = policy.act({"observation.state": state})

    Attributes:
        agent: observer, policy and scaling; its tensors lie where the observations are moved to.
        observation_shapes: what one observation must hold, by LeRobot's keys: numbers, or pictures (H, W, 3).
        action_names: of the action's dimensions; empty where the data had none.
    """

    def __init__(self, agent: Agent) -> None:
        self.agent = agent.eval()
        self.observation_shapes = observation_shapes(agent.observer)
        self.action_dim = agent.policy.action_dim
        self.action_names = agent.scaling.names if agent.scaling is not None else ()
        self._batch: int | None = None

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.agent.policy.parameters()).device

    def reset(self) -> None:
        """An episode begins, in all of the batch; also before the first `act`, where nobody says it."""
        self._batch = None

    def act(
        self,
        observation: Mapping[str, Any],
        deterministic: bool = True,
        generator: torch.Generator | None = None,
    ) -> Any:
        """The action to execute now, in the data's units.

        To be called once for each frame of an episode, at the data's rate: a policy of action chunks plans at some of
        the calls only.

        Args:
            observation: `observation_shapes` says what; other keys are ignored. Numbers in the data's units; pictures
                uint8, RGB, right side up. All with one more dimension in front for a batch.
            deterministic: the most likely action; else one is drawn by `generator`.

        Returns:
            float32 (A,), or (B, A) for a batch: a tensor on its own device for tensors, else a NumPy array.

        Raises:
            InputError: a key is missing, has another shape or type, or numbers that are not finite; or a batch of
                another size than the episode began with.
        """
        tensors, single = self._checked(observation)
        count = len(next(iter(tensors.values())))
        if self._batch is None:
            self.agent.begin(count)
            self._batch = count
        if count != self._batch:
            raise InputError(f"act: found a batch of {count}, expected {self._batch} as before; reset() begins anew")
        action = self.agent.act(tensors, deterministic, generator)
        action = action[0] if single else action
        given = next(observation[key] for key in self.observation_shapes)
        return action.to(given.device) if isinstance(given, Tensor) else action.cpu().numpy()

    def executed(self, action: Any) -> None:
        """Say which action was executed, in the data's units, where it was not the one that `act` returned."""
        if self._batch is None:
            raise InputError("executed: found no action yet, expected it after act()")
        done = torch.as_tensor(action, dtype=torch.float32, device=self.device).reshape(-1, self.action_dim)
        if len(done) != self._batch or not bool(done.isfinite().all()):
            raise InputError(f"executed: found {tuple(done.shape)}, expected finite ({self._batch}, {self.action_dim})")
        self.agent.executed(done)

    def _checked(self, observation: Mapping[str, Any]) -> tuple[dict[str, Tensor], bool]:
        """The observation as a batch on the device, and whether it was a single one."""
        found, batched = dict[str, Tensor](), set[bool]()
        for key, shape in self.observation_shapes.items():
            if key not in observation:
                raise InputError(f"act: found {sorted(observation)}, expected '{key}' of shape {shape} among them")
            values = _numbers(key, observation[key])
            if tuple(values.shape) not in (shape, (*values.shape[:1], *shape)):
                raise InputError(f"act: found '{key}' of shape {tuple(values.shape)}, expected {shape} or (batch, …)")
            batched.add(values.dim() > len(shape))
            values = values if values.dim() > len(shape) else values.unsqueeze(0)
            if not len(values):
                raise InputError(f"act: found '{key}' of an empty batch, expected at least one observation")
            found[key] = values.to(self.device)
        if len({len(values) for values in found.values()}) > 1 or len(batched) > 1:
            sizes = {key: tuple(values.shape) for key, values in found.items()}
            raise InputError(f"act: found {sizes}, expected all of one batch")
        return found, not batched.pop()


def _numbers(key: str, values: Any) -> Tensor:
    """An observation as float32, or as the bytes that pictures are."""
    if not isinstance(values, Tensor):
        array = np.asarray(values)
        if array.dtype.kind not in "biuf":
            raise InputError(f"act, '{key}': found values of type {array.dtype}, expected numbers")
        values = torch.as_tensor(array)
    if is_image_key(key):
        if values.dtype != torch.uint8:
            raise InputError(f"act: found '{key}' of type {values.dtype}, expected bytes (uint8) from 0 to 255")
        return values.detach()
    values = values.detach().to(torch.float32)
    if not bool(values.isfinite().all()):
        raise InputError(f"act: found a number in '{key}' that is not finite")
    return values


def observation_shapes(observer: Any) -> dict[str, tuple[int, ...]]:
    """What an observer reads of an observation, by LeRobot's keys; of vectors the state alone."""
    found = getattr(observer, "observation_shapes", None)
    return {STATE: (observer.observation_dim,)} if found is None else found
