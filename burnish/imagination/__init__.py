"""Imagination: a world model, a success classifier and start states from the data, as a Gymnasium VectorEnv."""

from burnish.imagination.env import ImaginationConfig, ImaginedEnv
from burnish.imagination.evaluate import ImaginedSuccess, imagined_success
from burnish.imagination.start_states import StartConfig, StartStates

__all__ = ["ImaginationConfig", "ImaginedEnv", "ImaginedSuccess", "StartConfig", "StartStates", "imagined_success"]
