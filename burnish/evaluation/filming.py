"""Pictures of recorded episodes: the simulator repeats an episode's actions from its seed, bit for bit."""

from contextlib import closing

import numpy as np

from burnish.data import Episode
from burnish.errors import RunError
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.tasks import suite_of


def film(episode: Episode, settings: SimulatorConfig, size: int, camera: str | None = None) -> np.ndarray:
    """One picture for every frame of an episode that the simulator recorded: uint8 (T, size, size, 3).

    Args:
        episode: the episode.
        settings: those that it was recorded with.
        size: height and width in pixels.
        camera: one of the task's; default its first.

    Raises:
        RunError: the suite draws nothing, no off-screen OpenGL on this machine, or the episode does not repeat.
    """
    suite = suite_of(episode.task)
    if suite.make_renderer is None:
        raise RunError(f"{suite.title} draws no pictures")
    env = suite.make_env(episode.task, settings)
    try:
        observation = env.reset(episode.seed)
        with closing(suite.make_renderer(env, size, camera)) as renderer:
            pictures = [renderer.render()]
            for action in episode.action[:-1]:
                observation, *_ = env.step(action)
                pictures.append(renderer.render())
    finally:
        env.close()
    if any(not np.array_equal(values, episode.observation[key][-1]) for key, values in observation.items()):
        raise RunError(f"{episode.task}: the episode of seed {episode.seed} did not repeat; it cannot be filmed")
    return np.stack(pictures)
