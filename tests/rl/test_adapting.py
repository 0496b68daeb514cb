"""The alternation of SAC and the weighted world model: when, on what, resumable to the bit, and that it helps."""

import copy

import pytest
import torch

from burnish.data import STATE
from burnish.errors import InputError
from burnish.imagination import ImaginationConfig, ImaginedEnv, Models, StartConfig, StartStates
from burnish.policies import SquashedPolicy, SquashedPolicyConfig
from burnish.rewards import Outcome
from burnish.rl import (
    SAC,
    Adapting,
    AdaptingConfig,
    EnvExperience,
    Judgement,
    Known,
    RefineConfig,
    SACConfig,
    WeightingConfig,
    refine,
)
from burnish.training import TrainingConfig, fit
from burnish.world_models import GuidedDiffusion, GuidedDiffusionConfig, WeightedWindows
from tests.rl.test_ppo import same, weights
from tests.world_models.linear_system import fitted_space, linear_system

SMALL = SACConfig(
    rollout_steps=2, gradient_steps=1, batch_size=16, capacity=500, critic_warmup=1, critic_hidden=(8,), real_share=0.0
)


class Origin:
    """Minus the distance of the first two dimensions from 0, in normalised units."""

    def __init__(self, world):
        self.world = world

    def __call__(self, state, action, following):
        away = self.world.features(following)[:, :2].norm(dim=1)
        return Outcome(-away, torch.zeros_like(away, dtype=torch.bool))


def make_policy(seed=0, features=4):
    torch.manual_seed(seed)
    return SquashedPolicy(features, 2, SquashedPolicyConfig(hidden=(8,), max_std=0.6))


def parts(dataset, **changes):
    """Everything that takes turns, and the environment."""
    torch.manual_seed(0)
    world = GuidedDiffusion(fitted_space(dataset, frames=1), GuidedDiffusionConfig(width=16, depth=1, noises=2))
    world.requires_grad_(False)
    config = AdaptingConfig(**{"sac": SMALL, "every": 2, "steps": 2, "batch_size": 16, **changes})
    windows = WeightedWindows(dataset, 1, world.config.rollout_steps)
    features = world.features(world.recorded(dataset))
    known = Known(windows, features, dataset.actions, make_policy(1).requires_grad_(False))
    learner = Adapting(SAC(make_policy(), 4, config.sac), world, known, config)
    starts = StartStates(dataset, world.recorded(dataset), torch.arange(dataset.num_frames), StartConfig())
    env = ImaginedEnv(Models(world, Origin(world)), starts, 2, ImaginationConfig(num_envs=8, horizon=4), 0)
    return learner, env


@pytest.fixture(scope="module")
def dataset():
    return linear_system(12, length=12, bend=0.02)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_turns(dataset):
    """One update of the critics alone, then two of the policy for each of the world model; SAC moves either way."""
    learner, env = parts(dataset)
    experience, drawn = EnvExperience(env, 0), generator()
    changed = []
    for _ in range(6):
        before = weights(learner.world)
        metrics = learner.update(experience, drawn)
        changed.append(not same(before, learner.world.state_dict()))
        assert ("weights/effective" in metrics) == changed[-1]
    assert changed == [False, False, True, False, True, False]


def test_what_imagines_is_the_average_of_what_learns(dataset):
    learner, _ = parts(dataset, steps=1, ema_decay=0.75)
    before = [parameter.clone() for parameter in learner.world.parameters()]
    fixed = {name: tensor.clone() for name, tensor in learner.world.named_buffers()}
    learner.adapt(generator())
    rows = zip(before, learner.learning.parameters(), learner.world.parameters(), strict=True)
    for old, new, found in rows:
        torch.testing.assert_close(found, 0.75 * old + 0.25 * new)
    assert all(torch.equal(tensor, fixed[name]) for name, tensor in learner.world.named_buffers())


def test_without_weights_or_without_steps(dataset):
    """The same steps on weights of one; no steps leave the world model alone."""
    weighted, _ = parts(dataset)
    weighted.adapt(generator())
    assert weighted.known.windows.weight[weighted.known.windows.transitions].std() > 0.01
    plain, _ = parts(dataset, weighted=False)
    before = weights(plain.world)
    plain.adapt(generator())
    assert (plain.known.windows.weight == 1).all() and not same(before, plain.world.state_dict())
    never, env = parts(dataset, steps=0)
    before, experience, drawn = weights(never.world), EnvExperience(env, 0), generator()
    for _ in range(4):
        never.update(experience, drawn)
    assert same(before, never.world.state_dict())


def test_the_global_random_numbers_do_not_move(dataset):
    learner, _ = parts(dataset)
    before = torch.get_rng_state()
    learner.adapt(generator())
    assert torch.equal(before, torch.get_rng_state())


def test_a_killed_refinement_ends_with_the_same_bits(dataset, tmp_path):
    config = RefineConfig(iterations=7, evaluate_every=3, checkpoint_seconds=0.0, margin=-1.0)

    def run(folder, stop=None):
        learner, env = parts(dataset)

        def at(iteration, row):
            if iteration == stop:
                raise KeyboardInterrupt

        refine(learner, EnvExperience(env, 0), lambda policy: Judgement(0.0), config, folder, 0, on_iteration=at)
        return learner

    whole = run(tmp_path / "whole")
    for stop in (4, 6):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "parts", stop=stop)
    again = run(tmp_path / "parts")
    for name in ("policy", "world", "learning"):
        assert same(weights(getattr(whole, name)), getattr(again, name).state_dict()), name


def test_chunks_are_refused(dataset):
    learner, _ = parts(dataset)
    torch.manual_seed(0)
    policy = SquashedPolicy(4, 2, SquashedPolicyConfig(chunk=2, hidden=(8,)))
    with pytest.raises(InputError, match=r"policy\.chunk is 2, expected 1"):
        Adapting(SAC(policy, 4, SMALL), learner.world, learner.known, learner.config)


def test_weights_make_it_better_where_the_policy_goes(tmp_path):
    """A network too small for all of sin(8 a) learns its part around the policy's actions: less error there than with
    weights of one after as many steps from the same start, and more elsewhere."""
    dataset = linear_system(80, bend=0.05, noise=0.0)
    features = 4
    behaviour, target = make_policy(1, features), make_policy(2, features)
    centre, wide, narrow = torch.tensor([[0.5, -0.5]]), torch.full((1, 2), 0.9), torch.full((1, 2), 0.2)
    behaviour.distribution = lambda x: (torch.zeros(len(x), 2), wide.expand(len(x), 2))
    target.distribution = lambda x: (centre.expand(len(x), 2), narrow.expand(len(x), 2))
    torch.manual_seed(0)
    size = GuidedDiffusionConfig(width=12, depth=1, noises=2, rollout_steps=1, context_noise=0.0)
    start = GuidedDiffusion(fitted_space(dataset, frames=1, action_encoding="linear", inertia=False), size)
    training = TrainingConfig(steps=300, batch_size=128, learning_rate=5e-3)
    fit(start, WeightedWindows(dataset, 1, 1), training, tmp_path, 0)
    states = start.recorded(dataset)
    frames = torch.arange(0, dataset.num_frames - 1, 7)
    frames = frames[dataset.episode_of_frame[frames] == dataset.episode_of_frame[frames + 1]]
    near = (dataset.actions[frames] - centre.tanh()).abs().amax(1) < 0.25
    truth = start.normaliser.normalise(dataset.observations[STATE])[frames + 1]

    def error(world):
        following = world.imagine(states.rows(frames), dataset.actions[frames], generator())
        each = (following.observation[:, -1] - truth).square().mean(1)
        return each[near].mean().sqrt(), each[~near].mean().sqrt()

    found = {}
    for weighted in (True, False):
        world = copy.deepcopy(start).requires_grad_(False)
        known = Known(WeightedWindows(dataset, 1, 1), start.features(states), dataset.actions, behaviour)
        config = AdaptingConfig(
            SMALL,
            steps=400,
            weighted=weighted,
            batch_size=128,
            learning_rate=3e-3,
            weighting=WeightingConfig(clip=100.0, least_share=0.05),
        )
        learner = Adapting(SAC(target, features, SMALL), world, known, config)
        learner.adapt(generator())
        found[weighted] = error(world)
    assert near.sum() > 10
    assert found[True][0] < 0.9 * found[False][0] and found[True][1] > found[False][1]
