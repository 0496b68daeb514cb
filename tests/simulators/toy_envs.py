"""A small Gymnasium environment with everything that is awkward, and the ways in which it can be wrong."""

import gymnasium
import numpy as np
from gymnasium import spaces

SPACES = {
    "unbounded action": spaces.Box(-np.inf, np.inf, (2,), np.float32),
    "discrete action": spaces.Discrete(3),
    "whole numbers": spaces.Box(0, 5, (2,), np.int64),
    "grey pictures": spaces.Dict({"look": spaces.Box(0, 255, (8, 8), np.uint8)}),
    "text": spaces.Dict({"agent": spaces.Dict({"says": spaces.Text(5)})}),
    "tuple": spaces.Tuple([spaces.Box(0, 1, (1,))]),
}


class Reach(gymnasium.Env):
    """A point that moves by its first action and holds with its second, in [0, 1]; success is near the goal.

    The observation is nested and has a picture; the goal is drawn from the seed. It terminates when the point leaves
    the unit square.

    Args:
        wrong: what is wrong with it.
        key: of the info that says success; it comes with every step, or at the end only (`final`).
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(self, wrong="", key="is_success", final=False, render_mode=None, size=8):
        self.wrong, self.key, self.final, self.render_mode, self.size = wrong, key, final, render_mode, size
        self.action_space = spaces.Box(np.float32([-2, 0]), np.float32([2, 1]))
        self.observation_space = spaces.Dict(
            {
                "agent": spaces.Dict({"pos": spaces.Box(-1, 1, (2,), np.float64), "grip": spaces.Box(0, 1, ())}),
                "goal": spaces.Box(-1, 1, (1, 2), np.float32),
                "look": spaces.Box(0, 255, (size, size, 3), np.uint8),
            }
        )
        if wrong in SPACES:
            name = "action_space" if "action" in wrong or wrong == "whole numbers" else "observation_space"
            setattr(self, name, SPACES[wrong])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.generator = np.random.default_rng() if self.wrong == "unseeded" else self.np_random
        self.goal = self.generator.uniform(-0.5, 0.5, (1, 2))
        self.pos, self.grip, self.steps = np.zeros(2), 0.0, 0
        return self._look(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        drift = np.random.default_rng().normal(0, 0.01) if self.wrong == "drifting" else 0.0
        self.pos = self.pos + np.array([0.05, 0.0]) * action[0] + drift
        self.grip, self.steps = float(action[1]), self.steps + 1
        if self.wrong == "crash":
            raise ZeroDivisionError("the arm is broken")
        success = bool(abs(self.pos[0] - self.goal[0, 0]) < 0.1 and self.grip > 0.5)
        left = bool(np.abs(self.pos).max() > 1)
        reward = np.nan if self.wrong == "nan reward" else -abs(self.pos[0] - self.goal[0, 0])
        info = {self.key: np.bool_(success)} if self.key and (not self.final or left or self.steps >= 12) else {}
        return self._look(), reward, left, False, info

    def render(self):
        return np.full((30, 60, 3), 128, np.uint8)

    def _look(self):
        picture = np.zeros((self.size, self.size, 3), np.uint8)
        picture[0, 0] = int(255 * (self.pos[0] + 1) / 2) % 256
        pos = np.array([np.nan, 0.0]) if self.wrong == "nan observation" and self.steps == 3 else self.pos
        observation = {
            "agent": {"pos": pos, "grip": np.float32(self.grip)},
            "goal": self.goal.astype(np.float32),
            "look": picture,
        }
        if self.wrong == "shapes":
            observation["goal"] = np.zeros(3)
        return observation


def make_reach(render_mode=None, **arguments):
    return gymnasium.wrappers.TimeLimit(Reach(render_mode=render_mode, **arguments), 20)


def no_environment():
    return "nothing"


SEVEN = 7
gymnasium.register("toys/Reach-v0", Reach, max_episode_steps=20)
gymnasium.register("toys/Reach-v1", Reach, max_episode_steps=20)
gymnasium.register("toys/Endless-v0", Reach)
