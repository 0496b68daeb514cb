"""ADEPT's loop (arXiv 2405.19878): the policy learns in the world model, and the world model where the policy goes."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.config import within
from burnish.errors import InputError
from burnish.policies import Policy, SquashedPolicy
from burnish.rl.importance import WeightingConfig, importance_weights, log_ratios
from burnish.rl.learner import Experience
from burnish.rl.rollout import Rollout
from burnish.rl.sac import SAC, SACConfig
from burnish.rl.steps import descend
from burnish.rl.transitions import follow
from burnish.training.processes import ALONE, Processes
from burnish.world_models import GuidedDiffusion, WeightedWindows


@dataclass(frozen=True)
class AdaptingConfig:
    """SAC, and when the world model learns again, for how long, and how far weights may go."""

    sac: SACConfig = SACConfig()
    every: int = within(10, 1)
    """Updates of the policy between two of the world model."""
    steps: int = within(100, 0)
    """Gradient steps of one of the world model; 0: it stays as it is."""
    weighted: bool = True
    """False: the same steps, with weights of one."""
    weighting: WeightingConfig = WeightingConfig()
    batch_size: int = within(256, 1)
    """Windows of one gradient step, all processes together."""
    learning_rate: float = within(3e-4, 0, open_low=True)
    gradient_clip: float = within(1.0, 0, open_low=True)
    ema_decay: float = within(0.99, 0, 1, open_high=True)
    """What imagines is a moving average of what learns."""


@dataclass(frozen=True)
class Known:
    """What the world model learned from, and learns from again: never anything new.

    Attributes:
        windows: of the data set; their weights are changed.
        features: of every frame.
        action: at every frame.
        behaviour: π_b, the density that was fitted to them.
    """

    windows: WeightedWindows
    features: Float[Tensor, "F D"]
    action: Float[Tensor, "F A"]
    behaviour: SquashedPolicy


_PARTS = ("learner", "learning", "world", "optimizer")


class Adapting:
    """A SAC, and after every few of its updates some gradient steps of the world model that it imagines in.

    The data are weighted by how much likelier the present policy is than their own one to have acted so. `world` is
    changed in place; its uncertainty's threshold and its normalisation stay.
    """

    def __init__(
        self,
        learner: SAC,
        world: GuidedDiffusion,
        known: Known,
        config: AdaptingConfig,
        processes: Processes = ALONE,
    ) -> None:
        if learner.policy.config.chunk != 1:
            raise InputError(f"policy.chunk is {learner.policy.config.chunk}, expected 1: single actions are weighted")
        self.learner, self.world, self.known, self.config = learner, world, known, config
        self.policy: Policy = learner.policy
        self.processes = processes
        self.batch_size = processes.share(config.batch_size, "adaptation.batch_size")
        self.learning = copy.deepcopy(world).requires_grad_(True)
        self.optimizer = torch.optim.AdamW(
            self.learning.parameters(), lr=config.learning_rate, weight_decay=0.0, fused=True
        )

    def update(self, experience: Experience, generator: torch.Generator) -> dict[str, float]:
        """One of the policy; after each `every`-th that has moved it, one of the world model."""
        metrics = self.learner.update(experience, generator)
        moved = self.learner.updates - self.learner.config.critic_warmup
        if self.config.steps and moved > 0 and moved % self.config.every == 0:
            metrics |= self.adapt(generator)
        return metrics

    def adapt(self, generator: torch.Generator) -> dict[str, float]:
        """Weigh the data by the present policy, and let the world model learn from them."""
        metrics = self.weigh()
        total = torch.zeros((), device=self.known.action.device)
        devices = [total.device] if total.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            # The loss draws noise from torch's own generator.
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator, device=generator.device)))
            for _ in range(self.config.steps):
                total = total + self._step(generator) / self.config.steps
        return self.processes.mean_of({**metrics, "world/loss": float(total)})

    @torch.no_grad()
    def weigh(self) -> dict[str, float]:
        """Set the weights of all transitions."""
        data, windows = self.known, self.known.windows
        frames = windows.transitions
        ratio = log_ratios(self.learner.policy, data.behaviour, data.features[frames], data.action[frames])
        found = importance_weights(ratio, self.config.weighting)
        if self.config.weighted:
            windows.weight[frames] = found.weight
        told = torch.stack([found.share, found.exponent, found.weight.max()]).tolist()
        return dict(zip(("weights/effective", "weights/exponent", "weights/largest"), told, strict=True))

    def _step(self, generator: torch.Generator) -> Tensor:
        loss, _ = self.learning.loss(self.known.windows.sample(self.batch_size, generator))
        descend(loss, self.learning.parameters(), self.optimizer, self.config.gradient_clip, self.processes)
        follow(self.world, self.learning, 1 - self.config.ema_decay)
        return loss.detach()

    def loss(self, rollout: Rollout, generator: torch.Generator) -> Tensor:
        """SAC's."""
        return self.learner.loss(rollout, generator)

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed refinement needs from here; weights are made anew before they are needed."""
        return {name: getattr(self, name).state_dict() for name in _PARTS}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        for name in _PARTS:
            getattr(self, name).load_state_dict(state[name])
