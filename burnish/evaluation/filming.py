"""Pictures of recorded episodes: the simulator repeats an episode's actions from its seed, bit for bit."""

from contextlib import closing

import numpy as np

from burnish.data import STATE, Episode
from burnish.errors import RunError
from burnish.simulators.tasks import simulator_of


def film(episode: Episode, action_repeat: int, size: int, camera: str | None = None) -> np.ndarray:
    """One picture for every frame of an episode that the simulator recorded: uint8 (T, size, size, 3).

    camera: one of the simulator's; default its first.

    Raises:
        RunError: no off-screen OpenGL on this machine, or the episode does not repeat.
    """
    simulator = simulator_of(episode.task)
    env = simulator.make_env(episode.task, action_repeat)
    try:
        observation = env.reset(episode.seed)
        with closing(simulator.make_renderer(env, size, camera)) as renderer:
            pictures = [renderer.render()]
            for action in episode.action[:-1]:
                observation, _, _ = env.step(action)
                pictures.append(renderer.render())
    finally:
        env.close()
    if not np.array_equal(observation[STATE], episode.observation[STATE][-1]):
        raise RunError(f"{episode.task}: the episode of seed {episode.seed} did not repeat; it cannot be filmed")
    return np.stack(pictures)
