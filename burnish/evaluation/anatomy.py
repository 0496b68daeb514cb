"""Where imagined success that is not real comes from: the reward, the dynamics, or halting.

A policy played real episodes; it plays again in imagination from the same starts. Where imagination says success and
reality says failure, either the classifier claims success on the real frames, too (the reward is wrong), or it does
not (imagined frames show what never happened: the dynamics are). Where reality says success and imagination says
failure, pessimism halted the episode, or imagination lost the way.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from burnish.data import Dataset
from burnish.evaluation.intervals import wilson_interval
from burnish.imagination import Models, imagined_play
from burnish.policies import Agent
from burnish.rewards import SuccessReward


@dataclass(frozen=True)
class Anatomy:
    """Counts of N episodes of one policy, each real and imagined from the same start.

    Attributes:
        episodes, real, imagined: all, those that succeed for real, and those that do in imagination without a halt.
        reward: imagined success, real failure, and the classifier claims success on the real frames.
        dynamics: imagined success, real failure, and it claims none there.
        halted: real success, but pessimism halted the imagined episode.
        lost: real success, imagined failure without a halt.
        claimed_failures: real failures on whose real frames the classifier claims success.
    """

    episodes: int
    real: int
    imagined: int
    reward: int
    dynamics: int
    halted: int
    lost: int
    claimed_failures: int

    @classmethod
    def of(
        cls, real: Bool[Tensor, " N"], imagined: Bool[Tensor, " N"], halted: Bool[Tensor, " N"], claims: Tensor
    ) -> "Anatomy":
        """From each episode's outcomes; `imagined` is whatever halts, `claims` (N,) the classifier's on real frames."""
        counted = imagined & ~halted
        wrong, missed = counted & ~real, real & ~counted
        parts = (real, counted, wrong & claims, wrong & ~claims, missed & halted, missed & ~halted, ~real & claims)
        return cls(len(real), *(int(part.sum()) for part in parts))

    def summary(self) -> dict[str, Any]:
        """The counts, and the share of real failures that the classifier calls success, with Wilson's interval."""
        failures = self.episodes - self.real
        claims = None
        if failures:
            low, high = wilson_interval(self.claimed_failures, failures)
            claims = {"share": self.claimed_failures / failures, "ci95": [low, high], "failures": failures}
        return {**asdict(self), "false_claims": claims}


@torch.no_grad()
def anatomy(agent: Agent, models: Models, played: Dataset, steps: int, seed: int) -> Anatomy:
    """Imagine the agent's real episodes `played` again from their first frames, within `steps` actions.

    The models' reward must be success by a classifier.
    """
    reward = models.reward
    assert isinstance(reward, SuccessReward)
    states = models.world_model.recorded(played)
    claims = torch.zeros(played.num_episodes, dtype=torch.bool, device=played.device)
    claimed = reward.classifier.succeeded(models.world_model.features(states))
    claims[played.episode_of_frame[claimed]] = True
    observation = {key: values[played.starts] for key, values in played.observations.items()}
    play = imagined_play(agent, models, states.rows(played.starts), observation, steps, seed)
    assert play.success is not None
    return Anatomy.of(played.episode_success, play.success, play.halted, claims)
