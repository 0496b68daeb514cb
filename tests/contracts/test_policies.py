"""What every family of policies promises to whoever clones, refines, saves or runs it."""

import pytest
import torch
from checkpoints import policy_of

from burnish.components import families, save
from burnish.data import STATE
from burnish.networks import InstructedConfig, InteractiveDiTConfig
from burnish.policies import (
    Agent,
    DiffusionPolicy,
    DiffusionPolicyConfig,
    GaussianPolicy,
    GaussianPolicyConfig,
    ImaginingPolicy,
    ImaginingPolicyConfig,
    PicturePolicy,
    PicturePolicyConfig,
    Policy,
    SquashedPolicy,
    SquashedPolicyConfig,
    TanhPolicy,
    TanhPolicyConfig,
    TokenPolicy,
    TokenPolicyConfig,
    TwoStreamPolicy,
    TwoStreamPolicyConfig,
    load_agent,
)
from burnish.policies.given import AroundPolicy, ChainPolicy, FeatureView, GivenConfig
from burnish.rl import PPO, PPOConfig, Rollout
from burnish.training import TrainingConfig, fit
from burnish.world_models import HistoryConfig, LatentDiffusion, LatentDiffusionConfig, ObservationHistory

ACTIONS, CHUNK, ROWS = 2, 2, 6
FEATURES, PIXELS = 3, 3 * 32**2


def _denoising(process):
    config = DiffusionPolicyConfig(chunk=CHUNK, denoising_steps=6, fine_tuned_steps=3, width=16, process=process)
    return lambda: DiffusionPolicy(FEATURES, ACTIONS, config)


def _imagining():
    """It asks a world model of two streams, with arbitrary weights, twice a decision."""
    history = ObservationHistory(FEATURES, ACTIONS, HistoryConfig(frames=2, feature_frames=2, inertia=False))
    network = InteractiveDiTConfig(width=8, depth=2, heads=2)
    world = LatentDiffusion(history, ((1, 1), (1, 2)), LatentDiffusionConfig(frames=CHUNK, network=network))
    with torch.no_grad():
        for parameter in world.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    denoiser = DiffusionPolicyConfig(chunk=CHUNK, denoising_steps=6, fine_tuned_steps=3, width=16)
    return ImaginingPolicy(world, ImaginingPolicyConfig(denoiser, rounds=2))


def _given(kind, family, **config):
    """A policy of LeRobot's that reads all the features."""
    base = policy_of(kind, {STATE: FEATURES}, n_obs_steps=1)
    view = FeatureView(FEATURES, ACTIONS, 1, {STATE: (0, FEATURES)})
    return family(base, view, GivenConfig(chunk=CHUNK, **config))


FAMILIES = {
    "around": lambda: _given("act", AroundPolicy),
    "residual": lambda: _given("act", AroundPolicy, refine="residual", reach=2.0, hidden=(16,)),
    "chain": lambda: _given("diffusion", ChainPolicy),
    "imagining": _imagining,
    "gaussian": lambda: GaussianPolicy(FEATURES, ACTIONS, GaussianPolicyConfig(chunk=CHUNK, hidden=(16,))),
    "squashed": lambda: SquashedPolicy(FEATURES, ACTIONS, SquashedPolicyConfig(chunk=CHUNK, hidden=(16,))),
    "tanh": lambda: TanhPolicy(FEATURES, ACTIONS, TanhPolicyConfig(chunk=CHUNK, hidden=(16,))),
    "diffusion": _denoising("diffusion"),
    "flow": _denoising("flow"),
    "picture": lambda: PicturePolicy(
        PIXELS,
        ACTIONS,
        PicturePolicyConfig(chunk=CHUNK, image_size=32, widths=(8, 8), embedding=16, hidden=(16,), shift=2),
    ),
    "tokens": lambda: TokenPolicy(
        PIXELS + 2,
        ACTIONS,
        TokenPolicyConfig(chunk=CHUNK, bins=11, network=InstructedConfig(width=16, depth=1, heads=2)),
    ),
    "two_stream": lambda: TwoStreamPolicy(
        2 * PIXELS,
        ACTIONS,
        TwoStreamPolicyConfig(chunk=CHUNK, image_size=32, widths=(8, 8), embedding=16, hidden=(16,), shift=2),
    ),
}


@pytest.fixture(params=FAMILIES)
def policy(request) -> Policy:
    """With arbitrary weights; a fresh one may have heads of zeros."""
    torch.manual_seed(0)
    policy = FAMILIES[request.param]()
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return policy.eval()


def features_of(policy, rows=ROWS, seed=1):
    return torch.rand(rows, policy.feature_dim, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_every_family_is_here():
    own = {each for each in families(Policy).values() if each.__module__.startswith("burnish.")}
    assert own == {type(make()) for make in FAMILIES.values()}


def test_decisions(policy):
    """Chunks within [-1, 1]; without noise they repeat, with noise the generator alone decides."""
    features = features_of(policy)
    decision = policy.act(features, False, generator())
    assert decision.action_chunk.shape == (ROWS, CHUNK, ACTIONS) and (decision.action_chunk.abs() <= 1).all()
    assert len(decision.trace) == ROWS
    drawn = torch.get_rng_state()
    again, other = (policy.act(features, False, generator(seed)) for seed in (0, 1))
    assert torch.equal(decision.trace, again.trace) and not torch.equal(decision.trace, other.trace)
    one, two = (policy.act(features, True, None).action_chunk for _ in range(2))
    assert torch.equal(one, two) and torch.equal(drawn, torch.get_rng_state())
    assert not torch.equal(one, policy.act(features_of(policy, seed=2), True, None).action_chunk)


def test_the_log_probability_of_its_own_trace(policy):
    """K finite numbers, the same whether scored alone or in a batch, higher than those of other features' decisions."""
    policy.begin_refinement()
    features = features_of(policy, 64)
    with torch.no_grad():
        trace = policy.act(features, False, generator()).trace
        found = policy.log_prob(features, trace)
        shape = (64, len(policy.step_weights))
        assert found.shape == shape and policy.clip_scale.shape == shape[1:] and found.isfinite().all()
        torch.testing.assert_close(found[:3], policy.log_prob(features[:3], trace[:3]), atol=1e-4, rtol=1e-4)
        assert found.mean() > policy.log_prob(features.flip(0), trace).mean()
        assert policy.entropy(features).shape == (64,)


def test_ratios_are_one_before_the_first_update(policy):
    """So nothing is clipped, the KL is 0, and the surrogate is minus the mean advantage, weighted by the steps."""
    config = PPOConfig(anchor_weight=0.0, critic_hidden=(8,), minibatch_size=64)
    learner = PPO(policy, policy.feature_dim, config)
    features = features_of(policy, 24)
    with torch.no_grad():
        trace = policy.act(features, False, generator()).trace
        log_prob = policy.log_prob(features, trace)
    columns = [each.unflatten(0, (2, 12)) for each in (features, trace, log_prob)]
    ends = torch.ones(2, 12, dtype=torch.bool)
    rollout = Rollout(*columns, torch.arange(24.0).view(2, 12), ends, ~ends, columns[0])
    before = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    assert any(bool(g.any()) for g in torch.autograd.grad(learner.loss(rollout, generator()), parameters))
    assert all(torch.equal(tensor, before[name]) for name, tensor in policy.state_dict().items())
    metrics = PPO(policy, policy.feature_dim, PPOConfig(epochs=1, critic_hidden=(8,))).learn(rollout, generator())
    assert metrics["kl"] == pytest.approx(0, abs=1e-5) and metrics["clipped"] == 0
    assert metrics["loss/policy"] == pytest.approx(0, abs=1e-4), "advantages have mean 0"
    changed = {name for name, p in policy.named_parameters() if not torch.equal(p, before[name])}
    assert changed <= {name for name, p in policy.named_parameters() if p.requires_grad} and changed


def test_the_trunk_and_the_augmentation_read_its_features(policy):
    """Also those of (T, N, F); augmentation keeps the shape and draws from the generator."""
    features = features_of(policy)
    assert policy.trunk((8,), 3)(features.unflatten(0, (2, -1))).shape == (2, ROWS // 2, 3)
    one, two = (policy.augment(features, generator()) for _ in range(2))
    assert one.shape == features.shape and torch.equal(one, two)


class Pairs:
    """The same demonstration everywhere: the chunk is 0.4, -0.4."""

    def __init__(self, policy):
        self.policy = policy

    def sample(self, batch_size, generator):
        features = torch.rand(batch_size, self.policy.feature_dim, generator=generator) * 2 - 1
        return features, torch.tensor([0.4, -0.4]).expand(batch_size, CHUNK, ACTIONS)


def test_cloning_makes_it_better(policy, tmp_path):
    training = TrainingConfig(steps=60, batch_size=32, learning_rate=1e-2, ema_decay=None, log_every=30)
    features, chunk = features_of(policy), torch.tensor([0.4, -0.4])

    def error():
        with torch.no_grad():
            return float((policy.act(features, True, None).action_chunk - chunk).square().mean())

    before = error()
    policy.begin_refinement()
    metrics = fit(policy, Pairs(policy), training, tmp_path, 0)
    policy.begin_refinement()
    assert error() < before and {"loss", "rmse"} <= set(metrics)


def test_what_was_saved_acts_the_same(policy, tmp_path):
    """Deterministic and exploring; the weights of its scored steps come from its settings, not from the file."""
    policy.begin_refinement()
    observer = ObservationHistory(policy.feature_dim, ACTIONS, HistoryConfig(frames=1, feature_frames=1))
    save(tmp_path, Agent(observer, policy, "t").eval())
    loaded, features = load_agent(tmp_path, "t").policy, features_of(policy)
    assert type(loaded) is type(policy) and loaded.config == policy.config
    for deterministic in (True, False):
        one, other = (each.act(features, deterministic, generator()).trace for each in (policy, loaded))
        assert torch.equal(one, other)
    assert torch.equal(loaded.step_weights, policy.step_weights)
    assert not any("step_weights" in name or "clip_scale" in name for name in policy.state_dict())
