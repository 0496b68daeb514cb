"""First-order learning through a local model, which learns on what the policy does in the environment it stands for."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from burnish.config import within
from burnish.errors import InputError
from burnish.imagination import ImaginedEnv, LocalModel, SwappedEnv
from burnish.policies import Policy
from burnish.rl.differentiable import DifferentiableExperience
from burnish.rl.learner import Experience
from burnish.rl.rollout import Rollout
from burnish.rl.sequence_replay import SequenceReplay, frames_of
from burnish.rl.short_horizon import ShortHorizon, ShortHorizonConfig
from burnish.rl.steps import descend
from burnish.training.processes import ALONE, Processes


@dataclass(frozen=True)
class RefreshingConfig:
    """The learner, and how its local model follows it; numbers in brackets are DMO's."""

    policy: ShortHorizonConfig = ShortHorizonConfig()
    steps: int = within(8, 0)
    """Gradient steps of the local model after each update (128; 32 for a quadruped); 0: it stays as it is."""
    first_steps: int = within(100, 0)
    """The same after the first update (1000)."""
    sequences: int = within(32, 1)
    """Of one gradient step (512 transitions), all processes together."""
    sequence_length: int = within(16, 2)
    """Frames of each."""
    capacity: int = within(100_000, 2)
    """Frames that are kept, the newest ones (10⁶; 99,840 for a quadruped)."""
    learning_rate: float = within(1e-3, 0, open_low=True)
    gradient_clip: float = within(10.0, 0, open_low=True)


class Refreshing:
    """A `ShortHorizon` in a `SwappedEnv`, and after each of its updates some gradient steps of the local model.

    `local` is changed in place: its dynamics by their own loss on sequences, its reward by the squared error of what
    the environment gave. What the environment itself is made of never learns.
    """

    def __init__(
        self, learner: ShortHorizon, local: LocalModel, config: RefreshingConfig, processes: Processes = ALONE
    ) -> None:
        if local.feature_dim != learner.policy.feature_dim:
            raise InputError(
                f"the local model was made for {local.feature_dim} features, the policy reads "
                f"{learner.policy.feature_dim}"
            )
        self.learner, self.local, self.config, self.processes = learner, local.requires_grad_(False), config, processes
        self.policy: Policy = learner.policy
        self.sequences = processes.share(config.sequences, "learner.sequences")
        size = self.policy.config.chunk * self.policy.action_dim
        device = next(self.policy.parameters()).device
        self.replay = SequenceReplay(config.capacity, local.feature_dim, size, device)
        self.optimizer = torch.optim.AdamW(local.parameters(), lr=config.learning_rate, weight_decay=0.0, fused=True)

    def experience(self, env: ImaginedEnv, seed: int) -> Experience:
        """What it learns from: the environment's values with the local model's gradients."""
        return DifferentiableExperience(SwappedEnv(env, self.local), seed)

    def update(self, experience: Experience, generator: torch.Generator) -> dict[str, float]:
        """One of the policy and its critics, on a fresh rollout; then the local model learns."""
        rollout = experience.rollout(self.policy, self.config.policy.rollout_steps, generator)
        metrics = self.learner.learn(rollout, generator)
        self.remember(rollout)
        steps = self.config.first_steps if self.learner.updates == 1 else self.config.steps
        return metrics | (self.refresh(steps, generator) if steps else {})

    def remember(self, rollout: Rollout) -> None:
        """Keep the frames of all processes."""
        found = frames_of(rollout)
        if self.processes.count > 1:
            found = _of_all(found, self.processes)
        self.replay.add(found)

    def refresh(self, steps: int, generator: torch.Generator) -> dict[str, float]:
        """So many gradient steps of the local model on what is remembered."""
        self.local.requires_grad_(True)
        totals: dict[str, Tensor] = {}
        devices = [generator.device] if generator.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            # A latent model's loss draws from torch's own generator.
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator, device=generator.device)))
            for _ in range(steps):
                for name, value in self._step(generator).items():
                    totals[name] = totals.get(name, 0) + value / steps
        self.local.requires_grad_(False)
        return self.processes.mean_of({f"local/{name}": float(total) for name, total in totals.items()})

    def _step(self, generator: torch.Generator) -> dict[str, Tensor]:
        dynamics, _ = self.local.dynamics.loss(
            self.replay.sequences(self.sequences, self.config.sequence_length, generator)
        )
        members = self.local.reward.members
        count = -(-self.sequences * self.config.sequence_length // members) * members
        reward, _ = self.local.reward.loss(self.replay.transitions(count, generator))
        descend(dynamics + reward, self.local.parameters(), self.optimizer, self.config.gradient_clip, self.processes)
        return {"dynamics": dynamics.detach(), "reward": reward.detach()}

    def loss(self, rollout: Rollout, generator: torch.Generator) -> Tensor:
        """The policy's and its critics'."""
        return self.learner.loss(rollout, generator)

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed refinement needs from here."""
        return {name: getattr(self, name).state_dict() for name in ("learner", "local", "optimizer", "replay")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        for name in ("learner", "local", "optimizer", "replay"):
            getattr(self, name).load_state_dict(state[name])


def _of_all(frames: dict[str, Tensor], processes: Processes) -> dict[str, Tensor]:
    """The frames of all processes, of which each may have another number."""
    counts = processes.gather(torch.tensor([len(frames["reward"])])).tolist()
    longest = max(counts)
    found = {}
    for name, rows in frames.items():
        padded = torch.cat([rows, rows.new_zeros(longest - len(rows), *rows.shape[1:])])
        parts = processes.gather(padded).split(longest)
        found[name] = torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
    return found
