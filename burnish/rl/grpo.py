"""GRPO (arXiv 2402.03300) on whole episodes: groups from the same start, each member compared with its group alone.

As World-Gymnast (arXiv 2602.02454) has it: groups that always or never succeed teach nothing and are left out, the
ratio may grow further than it may shrink (DAPO, arXiv 2503.14476), and there is neither a critic nor an anchor.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.config import within
from burnish.errors import InputError, RunError
from burnish.imagination import ImaginedEnv
from burnish.policies import Policy
from burnish.rl.learner import Experience
from burnish.rl.rollout import EnvExperience, Rollout
from burnish.rl.steps import begin, descend, learned
from burnish.training.processes import ALONE, Processes


@dataclass(frozen=True)
class GRPOConfig:
    """GRPO's settings."""

    members: int = within(8, 1)
    """Episodes of a group; there are as many groups as fit into imagination.num_envs."""
    filter_low: float = within(0.1, 0, 1)
    """Groups whose success rate is below this, or above the next, are left out."""
    filter_high: float = within(0.9, 0, 1)
    clip_low: float = within(0.2, 0, 1, open_low=True)
    clip_high: float = within(0.28, 0, open_low=True)
    epochs: int = within(2, 1)
    minibatch_size: int = within(160, 1)
    """Decisions of one gradient step, all processes together."""
    learning_rate: float = within(1e-4, 0, open_low=True)
    """World-Gymnast: 5e-6, for a policy of 7 B weights."""
    gradient_clip: float = within(1.0, 0, open_low=True)
    patience: int = within(10, 1)
    """Iterations at the beginning without any group to learn from, after which refinement stops."""

    def __post_init__(self) -> None:
        if self.filter_low > self.filter_high:
            found = f"filter_low {self.filter_low} above filter_high {self.filter_high}"
            raise InputError(f"GRPO: found {found}, expected a range")


class GroupedExperience(EnvExperience):
    """Whole episodes in groups of `members`, each from a start of its own; every rollout begins them anew."""

    def __init__(self, env: ImaginedEnv, members: int, seed: int) -> None:
        if env.num_envs % members:
            raise InputError(
                f"imagination.num_envs is {env.num_envs} in each process, expected a multiple of learner.members, "
                f"{members}"
            )
        super().__init__(env, seed)
        self.members = members

    @torch.no_grad()
    def rollout(self, policy: Policy, steps: int, generator: torch.Generator) -> Rollout:
        """Explore for `steps` decisions from new starts; environments of one group are neighbours."""
        starts = self.env.starts
        drawn = starts.draw(self.num_envs // self.members, self.env.generator)
        states = starts.states.rows(drawn.repeat_interleave(self.members))
        self._features, _ = self.env.reset(options={"states": states})
        return super().rollout(policy, steps, generator)


class GRPO:
    """The learner; of several processes each learns from groups of its own."""

    def __init__(self, policy: Policy, feature_dim: int, config: GRPOConfig, processes: Processes = ALONE) -> None:
        begin("GRPO", policy, feature_dim)
        self.config, self.processes, self.policy = config, processes, policy
        self.minibatch_size = processes.share(config.minibatch_size, "learner.minibatch_size")
        self.decisions, self.idle, self.taught = 1, 0, False
        self.optimizer = torch.optim.AdamW(learned(policy), lr=config.learning_rate, weight_decay=0.0, fused=True)

    def experience(self, env: ImaginedEnv, seed: int) -> GroupedExperience:
        """Groups in an imagined environment; a rollout is its whole horizon."""
        self.decisions = -(-env.config.horizon // env.config.chunk)
        return GroupedExperience(env, self.config.members, seed)

    def update(self, experience: Experience, generator: torch.Generator) -> dict[str, float]:
        """One iteration on fresh groups.

        Raises:
            RunError: no group was of use in the first `patience` iterations.
        """
        rollout = experience.rollout(self.policy, self.decisions, generator)
        alive, returns, known = episodes_of(rollout)
        config, groups = self.config, (-1, self.config.members)
        advantage, used = group_advantages(
            returns.view(groups), known.view(groups), config.filter_low, config.filter_high
        )
        rows = alive & used.repeat_interleave(config.members) & known
        told = {
            "groups/used": float(used.float().mean()),
            "groups/unanswered": float((~known).float().mean()),
            "groups/return": float(returns[known].mean()) if bool(known.any()) else 0.0,
        }
        told = self.processes.mean_of(told)
        self._watch(told)
        flat = {
            "features": rollout.features[rows],
            "trace": rollout.trace[rows],
            "log_prob": rollout.log_prob[rows],
            "advantage": advantage.flatten().expand(len(alive), -1)[rows],
        }
        return told | self.learn(flat, generator)

    def _watch(self, told: dict[str, float]) -> None:
        """Count iterations without a group to learn from; later on there may be none because all succeed."""
        self.taught = self.taught or told["groups/used"] > 0
        self.idle += 1
        if self.taught or self.idle < self.config.patience:
            return
        missing = told["groups/unanswered"]
        mute = f"; {missing:.0%} of the verdicts were missing" if missing else ""
        raise RunError(
            f"GRPO: in the first {self.idle} iterations no group had a success rate from {self.config.filter_low:g} to "
            f"{self.config.filter_high:g} (the last ones' mean return is {told['groups/return']:.3g}){mute}; let the "
            "policy explore more (policy.temperature), begin from a better clone, or form larger groups "
            "(learner.members)"
        )

    def learn(self, flat: dict[str, Tensor], generator: torch.Generator) -> dict[str, float]:
        """All epochs on decisions by the row: features, trace, log_prob and advantage."""
        count = len(flat["advantage"])
        # Every process makes as many steps as the one with the most decisions.
        most = int(self.processes.gather(torch.tensor([count])).max())
        totals: dict[str, Tensor] = {}
        steps = self.config.epochs * -(-most // self.minibatch_size)
        per_epoch = max(1, steps // self.config.epochs)
        order = torch.zeros(0, dtype=torch.long)
        for step in range(steps):
            if step % per_epoch == 0:
                order = torch.randperm(count, generator=generator, device=generator.device)
            part = order[(step % per_epoch) * self.minibatch_size :][: self.minibatch_size]
            for name, value in self._step({name: rows[part] for name, rows in flat.items()}).items():
                totals[name] = totals.get(name, 0) + value
        return self.processes.mean_of({name: float(total) / steps for name, total in totals.items()})

    def _step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        loss, metrics = self.policy_loss(batch)
        descend(loss, self.policy.parameters(), self.optimizer, self.config.gradient_clip, self.processes)
        return metrics

    def policy_loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The clipped surrogate, the same advantage on every scored step of an episode, averaged over all of them."""
        log_ratio = self.policy.log_prob(batch["features"], batch["trace"]) - batch["log_prob"]
        ratio, advantage = log_ratio.exp(), batch["advantage"].unsqueeze(-1)
        clipped = ratio.clamp(1 - self.config.clip_low, 1 + self.config.clip_high)
        surrogate = torch.minimum(ratio * advantage, clipped * advantage)
        loss = -surrogate.sum() / max(1, surrogate.numel())
        with torch.no_grad():
            count = max(1, ratio.numel())
            metrics = {
                "loss/policy": loss.detach(),
                "kl": (ratio - 1 - log_ratio).sum() / count,
                "clipped": (clipped != ratio).float().sum() / count,
            }
        return loss, metrics

    def loss(self, rollout: Rollout, generator: torch.Generator) -> Tensor:
        """The loss as if every other member of each group had succeeded: two decisions have no outcome yet."""
        columns = {name: getattr(rollout, name).flatten(0, 1) for name in ("features", "trace", "log_prob")}
        parity = torch.arange(rollout.reward.shape[1], device=rollout.reward.device) % 2
        advantage = (1.0 - 2.0 * parity).expand(rollout.reward.shape).flatten()
        return self.policy_loss({**columns, "advantage": advantage})[0]

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed refinement needs from here."""
        own = {"policy": self.policy.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {**own, "idle": self.idle, "taught": int(self.taught)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.policy.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.idle, self.taught = int(state["idle"]), bool(state["taught"])


def episodes_of(rollout: Rollout) -> tuple[Bool[Tensor, "T N"], Float[Tensor, " N"], Bool[Tensor, " N"]]:
    """Of the first episode of each environment: which decisions are its own, its return, and whether that is known."""
    ended = (rollout.terminated | rollout.truncated).long().cumsum(0)
    alive = torch.cat([torch.ones_like(ended[:1]), ended[:-1] == 0]).bool()
    returns = (rollout.reward * alive).sum(0)
    if rollout.unknown is None:
        return alive, returns, torch.ones_like(alive[0])
    return alive, returns, ~(rollout.unknown & alive).any(0)


def group_advantages(
    returns: Float[Tensor, "G n"], known: Bool[Tensor, "G n"], low: float, high: float
) -> tuple[Float[Tensor, "G n"], Bool[Tensor, " G"]]:
    """(r - mean) / (std + 1e-6) within each group, and which groups are of use.

    Mean and (unbiased) standard deviation are those of the members whose return is known; a group of one keeps its
    return as it is. A group is of use where its mean lies in [low, high] of the returns' possible range, 0 to 1, and
    its returns differ, or where it is of one.
    """
    count = known.sum(1, keepdim=True)
    mean = (returns * known).sum(1, keepdim=True) / count.clamp(min=1)
    squares = ((returns - mean) * known).square().sum(1, keepdim=True)
    std = (squares / (count - 1).clamp(min=1)).sqrt()
    advantages = torch.where(count == 1, returns, (returns - mean) / (std + 1e-6)) * known
    if returns.shape[1] == 1:
        return advantages, known[:, 0]
    used = (mean >= low) & (mean <= high) & (std > 0)
    return advantages, used.squeeze(1)
