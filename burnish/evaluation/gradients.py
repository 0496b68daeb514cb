"""Whether a local model's gradients point where the world that it stands for goes: finite differences of that world."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.imagination import ImaginedEnv, LocalModel, SwappedEnv
from burnish.policies import Policy
from burnish.world_models import State


@dataclass(frozen=True)
class GradientAgreement:
    """Gradients of a value of where some decisions lead, with respect to all of these decisions.

    Attributes:
        cosine: between the swapped gradient and the finite differences, of each start that has both.
        ratio: of their lengths, swapped over finite differences; the median.
        starts: how many were compared.
        steps: decisions.
    """

    cosine: Float[Tensor, " N"]
    ratio: float
    starts: int
    steps: int

    def to_dict(self) -> dict[str, float | None]:
        """The mean cosine, with the quartiles over starts; None where no start has both gradients."""
        if self.starts == 0:
            return {"cosine": None, "low": None, "high": None, "ratio": None, "starts": 0.0, "steps": float(self.steps)}
        low, high = torch.quantile(self.cosine, self.cosine.new_tensor([0.25, 0.75])).tolist()
        mean = float(self.cosine.mean())
        found = {"cosine": mean, "low": low, "high": high, "ratio": self.ratio}
        return found | {"starts": float(self.starts), "steps": float(self.steps)}


def gradient_agreement(
    env: ImaginedEnv,
    local: LocalModel,
    policy: Policy,
    value: Callable[[Tensor], Tensor],
    starts: State,
    steps: int,
    seed: int,
    epsilon: float = 0.05,
) -> GradientAgreement:
    """Compare the gradients of `value`(features) after `steps` decisions of the deterministic policy.

    The finite differences are central, one decision's number after another's, in `env` with the same random numbers:
    2 · steps · A rollouts. Starts whose episodes end on the way are left out. Decisions stay `epsilon` inside [-1, 1].

    Args:
        env: a row for each start; its episodes must not be limited to fewer decisions.
        local: the local model that is judged.
        policy: decides what is done; its decisions are then taken as they are.
        value: of features (N, F); differentiable, (N,).
        starts: N states of the environment.
        steps: decisions of each.
        seed: of the world's random numbers.
        epsilon: half of a difference.
    """
    actions, lived = _decided(env, policy, starts, steps, seed, 1 - epsilon)
    given = actions.clone().requires_grad_(True)
    swapped = SwappedEnv(env, local)
    swapped.reset(seed=seed, options={"states": starts})
    features = torch.zeros(())
    for step in range(steps):
        features = swapped.step(given[:, step])[0]
    (gradient,) = torch.autograd.grad(value(features).sum(), given)
    true = torch.zeros_like(actions)
    for number in range(actions[0].numel()):
        moved = torch.zeros_like(actions).flatten(1)
        moved[:, number] = epsilon
        up, down = (_led_to(env, actions + way * moved.view_as(actions), starts, seed, value) for way in (1, -1))
        true.flatten(1)[:, number] = (up - down) / (2 * epsilon)
    one, other = gradient.flatten(1)[lived], true.flatten(1)[lived]
    both = (one.norm(dim=1) > 1e-8) & (other.norm(dim=1) > 1e-8)
    one, other = one[both], other[both]
    cosine = torch.nn.functional.cosine_similarity(one, other, dim=1)
    ratio = float((one.norm(dim=1) / other.norm(dim=1)).median()) if len(one) else 0.0
    return GradientAgreement(cosine, ratio, len(one), steps)


@torch.no_grad()
def _decided(
    env: ImaginedEnv, policy: Policy, starts: State, steps: int, seed: int, limit: float
) -> tuple[Float[Tensor, "N T A"], Tensor]:
    """What the policy does on its way, and which episodes do not end."""
    features, _ = env.reset(seed=seed, options={"states": starts})
    actions, lived = [], torch.ones(env.num_envs, dtype=torch.bool, device=env.device)
    for _ in range(steps):
        actions.append(policy.act(features, True, None).action_chunk.flatten(1).clamp(-limit, limit))
        features, _, terminated, truncated, _ = env.step(actions[-1])
        lived &= ~(terminated | truncated)
    return torch.stack(actions, 1), lived


@torch.no_grad()
def _led_to(env: ImaginedEnv, actions: Tensor, starts: State, seed: int, value: Callable[[Tensor], Tensor]) -> Tensor:
    features, _ = env.reset(seed=seed, options={"states": starts})
    for step in range(actions.shape[1]):
        features = env.step(actions[:, step])[4]["final_obs"]
    return value(features)
