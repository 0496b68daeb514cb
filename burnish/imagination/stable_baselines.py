"""ImaginedEnv for Stable-Baselines3, which takes no Gymnasium vector environment."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from burnish.errors import InputError
from burnish.imagination.env import ImaginedEnv

try:
    from stable_baselines3.common.vec_env import VecEnv  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise InputError(f"this adapter needs Stable-Baselines3: pip install stable-baselines3 ({error})") from error


class ImaginedVecEnv(VecEnv):
    """A world model as Stable-Baselines3's vector environment: arrays in, arrays out.

    An episode's end, its last observation and whether only its time was up are where Stable-Baselines3 looks for them:
    in the `infos`, with `is_success` where the reward tells it, and `halted`.
    """

    def __init__(self, env: ImaginedEnv) -> None:
        self.env = env
        self.render_mode = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> np.ndarray:
        """Begin all episodes; (N, F)."""
        seeds = [seed for seed in self._seeds if seed is not None]
        features, _ = self.env.reset(seed=seeds[0] if seeds else None)
        self._reset_seeds()
        self._reset_options()
        return _array(features)

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions, (N, A) or (N, chunk, A), for `step_wait`."""
        self._actions = torch.from_numpy(np.asarray(actions, dtype=np.float32))

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Imagine one step; episodes that end begin anew at once."""
        with torch.no_grad():
            features, reward, terminated, truncated, info = self.env.step(self._actions)
        last, over = _array(info["final_obs"]), _array(truncated)
        done = _array(terminated | truncated)
        told = {name: _array(info[name]) for name in ("success", "halted") if name in info}
        infos: list[dict[str, Any]] = [{"TimeLimit.truncated": False} for _ in range(self.num_envs)]
        for row in np.flatnonzero(done):
            infos[row] = {"terminal_observation": last[row], "TimeLimit.truncated": bool(over[row])}
            infos[row] |= {"is_success" if name == "success" else name: bool(each[row]) for name, each in told.items()}
        return _array(features), _array(reward), done, infos

    def close(self) -> None:
        """Nothing is open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the environment, once for each index."""
        return [getattr(self.env, attr_name, None)] * len(self._chosen(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """All environments are one: attributes cannot differ."""
        setattr(self.env, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """What a method of the environment returns, once for each index."""
        return [getattr(self.env, method_name)(*args, **kwargs)] * len(self._chosen(indices))

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """None is."""
        return [False] * len(self._chosen(indices))

    def _chosen(self, indices: int | Sequence[int] | None) -> Sequence[int]:
        return list(self._get_indices(indices))


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
