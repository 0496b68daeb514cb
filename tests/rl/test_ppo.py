"""PPO: the clipped loss by hand (for K = 1 and 2), the warm-up, the anchor, and a world that it has to solve."""

import copy
import dataclasses
import math

import pytest
import torch
from torch import nn

from burnish.imagination import imagined_evaluation
from burnish.policies import DiffusionPolicy, DiffusionPolicyConfig, GaussianPolicy, GaussianPolicyConfig, Policy
from burnish.policies.gaussian import gaussian_log_prob
from burnish.rl import PPO, EnvExperience, PPOConfig, Rollout
from burnish.rl.ppo import policy_loss
from tests.imagination.counter_world import make_env, start_states

POLICY = GaussianPolicyConfig(hidden=(32,), min_std=0.2, max_std=0.6)


class Scored(nn.Module):
    """A policy whose log-probabilities are its parameters, one row a sample, K columns."""

    log_probs = Policy.log_probs

    def __init__(self, log_prob, step_weights, clip_scale, anchor_log_prob=0.0):
        super().__init__()
        self.values = nn.Parameter(torch.tensor(log_prob))
        self.step_weights, self.clip_scale = torch.tensor(step_weights), torch.tensor(clip_scale)
        self.anchor_log_prob = anchor_log_prob

    def log_prob(self, features, trace):
        anchor = (trace == 7).view(-1, 1)
        return torch.where(anchor, torch.full_like(self.values, self.anchor_log_prob), self.values)

    def entropy(self, features):
        return torch.full((len(features),), 2.5)


def loss_of(policy, advantage, config=None, old=0.0):
    count = len(advantage)
    batch = {
        "features": torch.zeros(count, 1),
        "trace": torch.zeros(count, 1),
        "anchor": torch.full((count, 1), 7.0),
        "log_prob": torch.full_like(policy.values.detach(), old),
        "advantage": torch.tensor(advantage),
    }
    config = config or PPOConfig(clip=0.2, anchor_weight=0.0, entropy_weight=0.0)
    return policy_loss(policy, batch, config)


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective"),
    [
        (1.1, 1.0, 1.1),  # inside
        (1.5, 1.0, 1.2),  # clipped: no reward for going further
        (0.5, 1.0, 0.5),  # the wrong way: not clipped
        (0.5, -1.0, -0.8),  # clipped
        (1.5, -1.0, -1.5),  # the wrong way: not clipped
        (0.9, -2.0, -1.8),
    ],
)
def test_clipping_by_hand(ratio, advantage, objective):
    policy = Scored([[math.log(ratio)]], [1.0], [1.0])
    loss, metrics = loss_of(policy, [advantage])
    assert loss.item() == pytest.approx(-objective)
    assert metrics["clipped"].item() == (abs(ratio - 1) > 0.2)
    assert metrics["kl"].item() == pytest.approx(ratio - 1 - math.log(ratio), abs=1e-6)
    loss.backward()
    gradient = policy.values.grad
    assert gradient is not None
    inside = objective == pytest.approx(ratio * advantage)
    assert gradient.item() == pytest.approx(-ratio * advantage if inside else 0.0)


def test_the_ratio_is_to_the_acting_policy():
    loss, _ = loss_of(Scored([[-1.0]], [1.0], [1.0]), [1.0], old=-1.0)
    assert loss.item() == pytest.approx(-1.0)


def test_two_scored_steps_by_hand():
    """Ratios 3/2 and 1/2, weights 1 and 1/2, clip ranges 0.2 and 0.4.

    Advantage 1: min(1.5, 1.2) = 1.2 and min(0.5 · 0.5, 0.6 · 0.5) = 0.25, mean 0.725.
    Advantage -1: min(-1.5, -1.2) = -1.5 and min(-0.25, -0.3) = -0.3, mean -0.9.
    """
    values = [[math.log(1.5), math.log(0.5)]]
    assert loss_of(Scored(values, [1.0, 0.5], [1.0, 2.0]), [1.0])[0].item() == pytest.approx(-0.725)
    assert loss_of(Scored(values, [1.0, 0.5], [1.0, 2.0]), [-1.0])[0].item() == pytest.approx(0.9)
    both = loss_of(Scored(values * 2, [1.0, 0.5], [1.0, 2.0]), [1.0, -1.0])[0]
    assert both.item() == pytest.approx((-0.725 + 0.9) / 2)


def test_anchor_and_entropy_enter_the_loss():
    """-log-probability of the anchor's action is 3; the entropy is 2.5."""
    config = PPOConfig(clip=0.2, anchor_weight=0.1, entropy_weight=0.01)
    loss, metrics = loss_of(Scored([[0.0]], [1.0], [1.0], anchor_log_prob=-3.0), [1.0], config)
    assert loss.item() == pytest.approx(-1.0 + 0.1 * 3.0 - 0.01 * 2.5)
    assert metrics["loss/anchor"].item() == pytest.approx(3.0)


def make_policy(seed=0, config=POLICY):
    torch.manual_seed(seed)
    return GaussianPolicy(1, 1, config)


def rollout_of(policy, steps=16, seed=0, **env):
    world = make_env(num_envs=64, horizon=8, **env)
    return EnvExperience(world, seed).rollout(policy, steps, torch.Generator().manual_seed(seed))


def weights(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(one, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def kl(base, policy):
    """Mean KL(base ‖ policy) over positions in [-0.5, 1]."""
    features = torch.linspace(-0.5, 1, 50).unsqueeze(1)
    with torch.no_grad():
        one, other = (torch.distributions.Normal(*p.distribution(features)) for p in (base, policy))
        return torch.distributions.kl_divergence(one, other).mean().item()


def test_critic_warm_up_leaves_the_policy_alone():
    ppo = PPO(make_policy(), 1, PPOConfig())
    policy, critic = weights(ppo.policy), weights(ppo.critic)
    metrics = ppo.learn(rollout_of(ppo.policy), torch.Generator().manual_seed(0), policy_too=False)
    assert same(policy, ppo.policy.state_dict()) and not same(critic, ppo.critic.state_dict())
    assert all(math.isfinite(value) for value in metrics.values())
    metrics = ppo.learn(rollout_of(ppo.policy), torch.Generator().manual_seed(0))
    assert not same(policy, ppo.policy.state_dict())
    assert same(policy, ppo.base.state_dict()), "the anchor stays the pretrained policy"
    assert {"kl", "clipped", "loss/policy", "loss/value", "explained_variance"} <= set(metrics)


def test_the_critic_learns_the_value():
    """A policy that always succeeds in the next step from anywhere: V = 1 where an episode ends."""
    ppo = PPO(make_policy(), 1, PPOConfig(gamma=0.9, epochs=4, minibatch_size=256, value_learning_rate=5e-3))
    x = torch.rand(16, 64, 1)
    ends = torch.ones(16, 64, dtype=torch.bool)
    never = torch.zeros_like(ends)
    rollout = Rollout(x, x, torch.zeros(16, 64, 1), 2 * x[..., 0], ends, never, x, ends, never)
    generator = torch.Generator().manual_seed(0)
    for _ in range(25):
        metrics = ppo.learn(rollout, generator, policy_too=False)
    assert (ppo.value(x) - 2 * x[..., 0]).abs().mean() < 0.1
    assert metrics["explained_variance"] > 0.9


def test_the_gradients_of_both_networks_are_clipped():
    """V = w x + b at x = 3 with returns of 10: (∂w, ∂b) = (-30, -10), of norm √1000, becomes one of norm 0.5."""
    ppo = PPO(make_policy(), 1, PPOConfig(gradient_clip=0.5))
    ppo.critic = nn.Linear(1, 1)
    with torch.no_grad():
        for parameter in ppo.critic.parameters():
            parameter.zero_()
    ppo.value_optimizer = torch.optim.SGD(ppo.critic.parameters(), lr=1.0)
    batch = {"features": torch.full((4, 1), 3.0), "return": torch.full((4,), 10.0)}
    assert ppo._value_step(batch)["loss/value"].item() == 50
    moved = [parameter.item() for parameter in ppo.critic.parameters()]
    assert moved == pytest.approx([0.5 * 30 / 1000**0.5, 0.5 * 10 / 1000**0.5], rel=1e-4)
    with torch.no_grad():
        trace = ppo.policy.act(batch["features"], False, torch.Generator().manual_seed(0)).trace
        log_prob = ppo.policy.log_prob(batch["features"], trace)
    ppo._policy_step(batch | {"trace": trace, "anchor": trace, "log_prob": log_prob, "advantage": 1e4 * trace[:, 0]})
    norms = [parameter.grad.norm() for parameter in ppo.policy.parameters() if parameter.grad is not None]
    assert torch.stack(norms).norm().item() == pytest.approx(0.5, rel=1e-4)


def test_truncated_steps_bootstrap_from_their_own_next_state():
    """One-step episodes, cut, with reward 0: a state that leads to value 1 is worth γ, one that leads to 0 nothing."""
    ppo = PPO(make_policy(), 1, PPOConfig(gamma=0.5, epochs=1, minibatch_size=10_000))
    ppo.critic = nn.Linear(1, 1)
    ppo.critic.requires_grad_(False).weight.fill_(1.0)
    ppo.critic.bias.zero_()
    seen = {}
    ppo._value_step = lambda batch: seen.update(batch) or {}
    x = torch.zeros(2, 3, 1)
    following = torch.tensor([0.0, 1.0, 2.0]).expand(2, 3).unsqueeze(-1)
    cut = torch.ones(2, 3, dtype=torch.bool)
    rollout = Rollout(x, x, torch.zeros(2, 3, 1), torch.zeros(2, 3), ~cut, cut, following, ~cut, ~cut)
    ppo.learn(rollout, torch.Generator().manual_seed(0), policy_too=False)
    assert sorted(seen["return"].tolist()) == pytest.approx([0, 0, 0.5, 0.5, 1, 1])
    assert seen["advantage"].mean().item() == pytest.approx(0, abs=1e-6)
    assert seen["advantage"].std().item() == pytest.approx(1, abs=1e-5)


def test_the_anchor_pulls_towards_the_pretrained_policy():
    """A policy that has strayed comes back under a heavy anchor, and does not without one."""
    distance = {}
    for weight in (0.0, 20.0):
        policy = make_policy()
        config = PPOConfig(policy_learning_rate=2e-3, anchor_weight=weight, target_kl=None, minibatch_size=256)
        ppo = PPO(policy, 1, config)
        with torch.no_grad():
            policy.network.head.bias.add_(torch.tensor([0.8, 0.5]))
        before = kl(ppo.base, policy)
        for seed in range(10):
            ppo.learn(rollout_of(policy, seed=seed), torch.Generator().manual_seed(seed))
        distance[weight] = kl(ppo.base, policy)
    assert distance[20.0] < 0.1 * before
    assert distance[0.0] > 3 * distance[20.0]


def test_target_kl_stops_the_epochs():
    """A large step size would carry the policy away; the stop keeps it at one epoch."""
    moved = {}
    for target in (None, 1e-4):
        config = PPOConfig(epochs=10, policy_learning_rate=1e-2, anchor_weight=0.0, target_kl=target)
        policy = make_policy()
        ppo = PPO(policy, 1, config)
        ppo.learn(rollout_of(policy), torch.Generator().manual_seed(0))
        moved[target] = kl(ppo.base, policy)
    assert moved[1e-4] < 0.5 * moved[None]


def test_state_round_trip():
    """A restored PPO goes on with the same bits: optimizers and anchor included."""
    policy = make_policy()
    ppo = PPO(policy, 1, PPOConfig())
    rollout = rollout_of(policy)
    ppo.learn(rollout, torch.Generator().manual_seed(0))
    saved = copy.deepcopy(ppo.state_dict())
    other = PPO(make_policy(seed=9), 1, PPOConfig())
    other.load_state_dict(saved)
    for instance in (ppo, other):
        instance.learn(rollout, torch.Generator().manual_seed(1))
    assert same(weights(ppo.policy), other.policy.state_dict())
    assert same(weights(ppo.critic), other.critic.state_dict()) and same(weights(ppo.base), other.base.state_dict())


def test_ppo_solves_the_counter_world():
    """A policy that stands still learns, from starts on the way too, to walk to the goal within the horizon."""
    policy = make_policy()
    env = make_env(num_envs=64, horizon=8, starts=start_states([0.0, 0.3, 0.6], share=0.3))
    judge = make_env(num_envs=16, horizon=10**9)
    starts = judge.starts.episode_starts(16)
    config = PPOConfig(
        gamma=0.95, policy_learning_rate=3e-3, anchor_weight=0.0, minibatch_size=512, target_kl=0.1, critic_warmup=3
    )
    ppo = PPO(policy, 1, config)
    assert imagined_evaluation(judge, policy, starts, 8, seed=0).score < 0.1
    generator = torch.Generator().manual_seed(0)
    experience = EnvExperience(env, 0)
    for _ in range(30):
        ppo.update(experience, generator)
    assert imagined_evaluation(judge, policy, starts, 8, seed=0).score > 0.9


def one_step_chain():
    """A diffusion policy of a single denoising step, which is a Gaussian around what it makes of its start noise."""
    torch.manual_seed(3)
    config = DiffusionPolicyConfig(chunk=1, denoising_steps=1, fine_tuned_steps=1, width=16, depth=1)
    policy = DiffusionPolicy(2, 1, config)
    for parameter in policy.network.parameters():
        nn.init.normal_(parameter, std=0.3)
    policy.begin_refinement()
    return policy


class AsGaussian(nn.Module):
    """The same network as a Gaussian policy: the start noise is a feature, the action the trace."""

    log_probs = Policy.log_probs

    def __init__(self, policy):
        super().__init__()
        self.policy = policy
        self.step_weights = self.clip_scale = torch.ones(1)

    def log_prob(self, features, trace):
        features, start = features[:, :2], features[:, 2:]
        mean = self.policy._mean(self.policy.network, start, slice(0, 1), self.policy.network.embed_context(features))
        return gaussian_log_prob(trace, mean, torch.full_like(mean, 0.1)).unsqueeze(-1)


def test_ppo_on_a_one_step_chain_is_the_gaussian_case():
    """The same ratios, surrogate, anchor and gradients; the clip range and the weights are all ones."""
    policy = one_step_chain()
    assert policy.step_weights.tolist() == [1.0] and policy.clip_scale.tolist() == [1.0]
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(64, 2, generator=generator)
    with torch.no_grad():
        acted, anchor = (policy.act(features, False, generator).trace for _ in range(2))
    old = policy.log_prob(features, acted).detach()
    with torch.no_grad():
        for parameter in policy.network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    advantage = torch.randn(64, generator=generator)
    batch = {"features": features, "trace": acted, "anchor": anchor, "log_prob": old, "advantage": advantage}
    config = PPOConfig(clip=0.05, anchor_weight=0.0)
    found, metrics = policy_loss(policy, batch, config)
    gaussian = AsGaussian(copy.deepcopy(policy))
    seen = torch.cat([features, acted[:, 0].flatten(1)], dim=1)
    same = batch | {"features": seen, "trace": acted[:, 1].flatten(1), "anchor": anchor[:, 1].flatten(1)}
    expected, expected_metrics = policy_loss(gaussian, same, config)
    torch.testing.assert_close(found, expected)
    assert 0 < metrics["clipped"] == expected_metrics["clipped"] < 1
    gradients = []
    for loss, network in ((found, policy.network), (expected, gaussian.policy.network)):
        loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().max() > 0


def test_the_discount_over_denoising_steps_and_the_clip_schedule_enter_the_loss():
    """Two steps, weights 0.9 and 1, clip 0.02 and 0.2: surrogate -mean(0.9·1.02·2, 1.2·2), by hand."""
    policy = Scored([[math.log(1.5), math.log(1.5)]], [0.9, 1.0], [0.1, 1.0])
    loss, _ = loss_of(policy, [2.0])
    assert loss.item() == pytest.approx(-(0.9 * 1.02 * 2 + 1.2 * 2) / 2, rel=1e-5)


def test_ppo_never_touches_the_first_denoising_steps():
    """After updates the pretrained network is bit for bit what it was; the tuned one has moved."""
    torch.manual_seed(0)
    config = DiffusionPolicyConfig(chunk=1, denoising_steps=4, fine_tuned_steps=2, width=16, depth=1)
    policy = DiffusionPolicy(1, 1, config)
    env = make_env(num_envs=16, horizon=4)
    ppo = PPO(policy, 1, PPOConfig(epochs=2, target_kl=None, policy_learning_rate=1e-2))
    before = {name: p.clone() for name, p in policy.named_parameters()}
    generator = torch.Generator().manual_seed(0)
    rollout = EnvExperience(env, 0).rollout(policy, 6, generator)
    assert rollout.log_prob.shape == (6, 16, 2) and rollout.trace.shape == (6, 16, 3, 1, 1)
    ppo.learn(rollout, generator)
    moved = {name.split(".")[0] for name, p in policy.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"network"}


@pytest.mark.parametrize("process", ["diffusion", "flow"])
def test_a_diffusion_policy_solves_the_counter_world(process):
    """From position 0 the goal is four pushes to the right; an untrained policy does not find it."""
    torch.manual_seed(0)
    config = DiffusionPolicyConfig(
        chunk=2, denoising_steps=4, fine_tuned_steps=4, width=32, depth=1, min_sampling_std=0.3, process=process
    )
    policy = DiffusionPolicy(1, 1, config)
    env = make_env(num_envs=64, horizon=12)
    env.config = dataclasses.replace(env.config, chunk=2)
    ppo = PPO(policy, 1, PPOConfig(clip=0.2, anchor_weight=0.0, policy_learning_rate=3e-3, target_kl=None))
    generator = torch.Generator().manual_seed(0)
    experience = EnvExperience(env, 0)
    judge = make_env(num_envs=32, horizon=100)
    judge.config = env.config
    starts = start_states().episode_starts(32)
    before = imagined_evaluation(judge, policy, starts, 6, 0).score
    for _ in range(25):
        ppo.learn(experience.rollout(policy, 8, generator), generator)
    assert before < 0.5 and imagined_evaluation(judge, policy, starts, 6, 0).score == 1.0
