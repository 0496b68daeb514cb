"""TD3+BC (Fujimoto & Gu 2021, arXiv 2106.06860): TD3 on offline data, and a policy that also has to clone it."""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.config import within
from burnish.policies import TanhPolicy
from burnish.rl.transitions import TransitionBatch, TwinCritic, follow


@dataclass(frozen=True)
class TD3BCConfig:
    """The paper's settings (its Table 3)."""

    alpha: float = within(2.5, 0)
    """Weight of the value against cloning, once values are divided by their mean size."""
    gamma: float = within(0.99, 0, 1)
    """Discount of one action."""
    policy_noise: float = within(0.2, 0)
    """Standard deviation of the noise on the target policy's action."""
    noise_clip: float = within(0.5, 0)
    policy_delay: int = within(2, 1)
    """Critic updates for each update of the policy and of the targets."""
    polyak: float = within(0.005, 0, 1, open_low=True)
    """Share of the new weights that a target takes over in one update."""
    critic_hidden: tuple[int, ...] = within((256, 256), 1)


class TD3BC(nn.Module):
    """Both losses in one `loss`, each with gradients for its own network only.

    The paper's two optimisers are one here: AdamW treats every weight by itself, and a policy that has no gradient at a
    step is not moved by it, which is the delay. Targets are updated when the following loss is asked for.
    Differences from the authors' code: SiLU for ReLU, LayerNorm in the policy, the learning rate's schedule and the
    gradient clipping of `training.fit`.
    """

    def __init__(self, policy: TanhPolicy, config: TD3BCConfig) -> None:
        """Fit `policy.normaliser` before; the critics read the same normalised features."""
        super().__init__()
        self.config, self.policy = config, policy
        self.critic = TwinCritic(policy.feature_dim, policy.config.chunk * policy.action_dim, config.critic_hidden)
        self.target_policy = copy.deepcopy(policy).requires_grad_(False)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.discount = config.gamma**policy.config.chunk
        self.updates = 0

    def loss(self, batch: TransitionBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of both critics, and at every `policy_delay`-th call the policy's loss besides."""
        delay = self.config.policy_delay
        if self.updates and self.updates % delay == 0:
            follow(self.target_policy, self.policy, self.config.polyak)
            follow(self.target_critic, self.critic, self.config.polyak)
        self.updates += 1
        value = self.critic(self.policy.normaliser.normalise(batch.features), batch.action)
        loss = (value - self.target(batch)).square().mean(1).sum()
        metrics = {"value": value.detach().mean(), "loss/critic": loss.detach()}
        if self.updates % delay == 0:
            policy_loss, more = self.policy_loss(batch)
            loss, metrics = loss + policy_loss, metrics | more
        return loss, metrics

    @torch.no_grad()
    def target(self, batch: TransitionBatch) -> Float[Tensor, " B"]:
        """r + γ (1 - d) min Q'(x', a'), where a' is the target policy's action with clipped noise, clipped itself."""
        c = self.config
        action = self.target_policy.action(batch.next_features)
        noise = (c.policy_noise * torch.randn_like(action)).clamp(-c.noise_clip, c.noise_clip)
        features = self.policy.normaliser.normalise(batch.next_features)
        value = self.target_critic(features, (action + noise).clamp(-1, 1)).amin(0)
        return batch.reward + self.discount * (~batch.terminal) * value

    def policy_loss(self, batch: TransitionBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """-λ Q₁(x, π(x)) + (π(x) - a)², with λ = α / mean |Q₁| (Eqs. 4 and 5)."""
        action = self.policy.action(batch.features)
        # Gradients go through the critic to the action, but the critic is not to please the policy.
        frozen = {name: tensor.detach() for name, tensor in self.critic.named_parameters()}
        features = self.policy.normaliser.normalise(batch.features)
        value = torch.func.functional_call(self.critic, frozen, (features, action))[0]
        weight = self.config.alpha / value.abs().mean().detach().clamp(min=1e-8)
        cloning = (action - batch.action).square().mean()
        return cloning - weight * value.mean(), {"loss/cloning": cloning.detach(), "lambda": weight}

    def get_extra_state(self) -> Tensor:
        """The number of updates, for resuming."""
        return torch.tensor(self.updates)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore `get_extra_state`."""
        self.updates = int(state)
