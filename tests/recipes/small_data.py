"""Small data sets that recipes learn from: with dense rewards, with things that sentences name, with two sentences."""

from pathlib import Path

import numpy as np

from burnish.data import STATE, DatasetInfo, Episode, image_key, write_dataset
from tests.recipes.toy_env import make_commanded

SENTENCE = "bring the red cube to the green pad"
SIDES = ("go to the left", "go to the right")


def write_rewarded_data(
    folder: Path, episodes: int = 16, length: int = 16, constant: bool = False, reward: bool = True
) -> Path:
    """A point that is pulled to the origin more or less; an episode ends by itself where it leaves the square."""
    generator, made = np.random.default_rng(0), []
    for index in range(episodes):
        position, states, actions = generator.uniform(-1, 1, 2), [], []
        for _ in range(length):
            action = np.clip((index % 3 - 1) * 0.5 * position + generator.normal(0, 0.4, 2), -1, 1)
            states.append(np.append(position, actions[-1] if actions else [0, 0]))
            actions.append(action)
            if np.abs(position).max() > 1.5 and not constant:
                break
            position = position + 0.2 * action
        state = np.array(states, np.float32)
        ended = (np.abs(state[:, :2]).max(1) > 1.5) & (not constant)
        earned = np.append(0, np.ones(len(state) - 1) if constant else -np.linalg.norm(state[1:, :2], axis=1))
        rewards = {"reward": earned.astype(np.float32), "terminated": ended} if reward else {}
        never = np.zeros(len(state), bool)
        made.append(Episode({STATE: state}, np.array(actions, np.float32), never, "play", index, "center", **rewards))
    names = tuple(f"state.{index}" for index in range(4))
    write_dataset(folder, made, DatasetInfo(fps=30, simulator="gym", max_steps=16, state_names=names))
    return folder


def write_commanded_data(folder: Path, episodes: int = 16) -> Path:
    """A velocity that follows the command of its episode more or less, recorded in the environment itself."""
    generator, made = np.random.default_rng(0), []
    for index in range(episodes):
        env = make_commanded()
        seen, _ = env.reset(seed=index)
        states, actions, rewards, over = [], [], [0.0], False
        while not over:
            states.append(np.concatenate([seen["command"], seen["velocity"]]))
            wanted = 0.5 * (states[-1][0] - states[-1][1])
            actions.append(np.clip(wanted + generator.normal(0, 0.4, 1), -1, 1).astype(np.float32))
            seen, reward, _, over, _ = env.step(actions[-1])
            rewards.append(reward)
        never = np.zeros(len(states), bool)
        earned = np.array(rewards[:-1], np.float32)
        made.append(Episode({STATE: np.stack(states)}, np.stack(actions), never, "play", index, "t", earned, never))
    names = ("command.0", "velocity.0")
    write_dataset(folder, made, DatasetInfo(fps=30, simulator="gym", max_steps=45, state_names=names))
    return folder


def write_named_data(
    folder: Path, sentence: str = SENTENCE, hidden: int = 0, masks: bool = False, episodes: int = 12, length: int = 10
) -> Path:
    """A red square that is brought to a green one, or not; in the last `hidden` frames it is not to be seen."""
    generator, made = np.random.default_rng(0), []
    for seed in range(episodes):
        at, target = generator.uniform(2, 10, 2), np.array([20.0, 20.0])
        frames, drawn, actions = [], [], []
        for frame in range(length):
            table, mask = np.full((32, 32, 3), 150, np.uint8), np.zeros((32, 32, 3), np.uint8)
            _square(target - 1, (50, 160, 70), table, size=7)
            _square(target - 1, (0, 255, 0), mask, size=7)
            if frame < length - hidden:
                _square(at, (205, 50, 45), table)
                _square(at, (255, 0, 0), mask)
            action = np.clip((target - at) / 4, -1, 1) * (1 if seed % 3 else -0.2)
            frames.append(table)
            drawn.append(mask)
            actions.append(action)
            at = (at + 2.5 * action).clip(0, 26)
        success = np.zeros(length, bool)
        success[-2:] = seed % 3 > 0
        observation = {STATE: np.zeros((length, 1), np.float32), image_key("table"): np.stack(frames)}
        observation |= {image_key("table_mask"): np.stack(drawn)} if masks else {}
        source = "expert" if seed % 3 else "random"
        made.append(Episode(observation, np.array(actions, np.float32), success, source, seed, sentence))
    write_dataset(folder, made, DatasetInfo(fps=20, simulator=None, max_steps=length))
    return folder


def write_sided_data(folder: Path, episodes: int = 16, length: int = 10) -> Path:
    """A red square that starts in the middle and goes to the side that the episode's sentence says, or not."""
    generator, made = np.random.default_rng(0), []
    for seed in range(episodes):
        side, obeys = seed % 2, seed % 4 < 2
        at, frames, actions = np.array([generator.uniform(8, 18), 13.0]), [], []
        for _ in range(length):
            table = np.full((32, 32, 3), 150, np.uint8)
            _square(at, (205, 50, 45), table)
            push = (1 if (side == 1) == obeys else -1) * 0.6
            action = np.clip(np.array([generator.normal(0, 0.3), push + generator.normal(0, 0.3)]), -1, 1)
            frames.append(table)
            actions.append(action)
            at = (at + 2.5 * action).clip(0, 26)
        success = np.zeros(length, bool)
        success[-1] = obeys
        source = "expert" if obeys else "random"
        observation = {image_key("view"): np.stack(frames)}
        made.append(Episode(observation, np.array(actions, np.float32), success, source, seed, SIDES[side]))
    write_dataset(folder, made, DatasetInfo(fps=20, simulator=None, max_steps=length))
    return folder


def _square(at: np.ndarray, colour: tuple[int, int, int], picture: np.ndarray, size: int = 5) -> None:
    row, column = (round(float(each)) for each in at)
    picture[row : row + size, column : column + size] = colour
