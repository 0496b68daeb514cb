"""What episodes in a simulator say of a policy: success, returns, and how smoothly it acts."""

from dataclasses import replace

import numpy as np
import torch

from burnish.data import STATE, ActionScaling, Dataset, Episode
from burnish.recipes.stages.recording import Real
from burnish.report.outcomes import Played
from burnish.rewards import RewardConfig


def compared_by(reward: RewardConfig, data: Dataset) -> RewardConfig:
    """What policies are compared by, which is what they were refined for: data that show no success have returns."""
    return replace(reward, kind=reward.of(data))


def outcomes_of(
    real: Real, episodes: dict[str, list[Episode]], reward: RewardConfig, scaling: ActionScaling | None
) -> dict[str, Played]:
    """Success where anything tells it; returns where nothing does, or where the run is after a dense reward."""
    recorder, found = real.recorder, dict[str, Played]()
    info = replace(recorder.info, scaling=None if scaling is None else recorder.spec.units)
    told = recorder.spec.success_key is not None or any(each.succeeded for one in episodes.values() for each in one)
    for name, played in episodes.items():
        success, returns = tuple(each.succeeded for each in played), ()
        if reward.is_dense or not told:
            seen = reward.view(Dataset.from_episodes(played, info))
            returns = () if seen.reward is None else tuple(seen.episode_return.tolist())
        changes = tuple(_action_change(as_learned(each, recorder.spec.units, scaling)) for each in played)
        found[name] = Played(success if told else (), returns, action_change=changes)
    return found


def _action_change(episode: Episode) -> float:
    """Mean change of the action from one decision to the next, as a share of its range, which is 2 inside."""
    executed = episode.action[:-1]
    return float(np.abs(np.diff(executed, axis=0)).mean()) / 2 if len(executed) > 1 else 0.0


def as_learned(episode: Episode, units: ActionScaling, scaling: ActionScaling | None) -> Episode:
    """A simulator's episode with its actions as the models know them."""
    if scaling is None:
        return episode
    state = episode.observation.get(STATE)
    seen = None if state is None else torch.from_numpy(state)
    return replace(episode, action=scaling.to_unit(units.to_data(torch.from_numpy(episode.action)), seen).numpy())
