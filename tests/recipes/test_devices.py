"""DiWA's inner loops make no tensor on the default device: it is `meta` here, as a GPU's host would be the wrong place.

Everything is on the CPU. A tensor that somebody makes without saying where would be on `meta`, and meeting the others
is an error.
"""

from dataclasses import replace

import pytest
import torch

from burnish.data import Streams, action_chunks, in_chunks, read_dataset
from burnish.evaluation.replay import replay, success_of_states
from burnish.imagination import (
    ImaginationConfig,
    ImaginedEnv,
    StartConfig,
    imagined_evaluation,
    imagined_frames,
    imagined_play,
)
from burnish.policies import Agent, DiffusionPolicy, DiffusionPolicyConfig, GaussianPolicy, GaussianPolicyConfig
from burnish.recipes.base import Models
from burnish.recipes.stages.cloning import _Pairs
from burnish.recipes.stages.imagining import imagined
from burnish.recipes.stages.refining import start_states
from burnish.recipes.stages.training import held_out_error, recorded_features
from burnish.rewards import BalancedFrames, ContrastiveClassifier, ContrastiveConfig
from burnish.rl import PPO, Dreamer, DreamerConfig, EnvExperience, PPOConfig
from burnish.world_models import (
    RSSM,
    RSSM_PRESETS,
    BootstrapTransitions,
    LatentEnsemble,
    LatentEnsembleConfig,
    position_differences,
)
from tests.recipes.small_runs import write_point_data

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return read_dataset(write_point_data(tmp_path_factory.mktemp("point") / "data", strays=7))


def generator():
    return torch.Generator(device=CPU).manual_seed(0)


def policy_of(family, features, actions):
    if family == "gaussian":
        return GaussianPolicy(features, actions, GaussianPolicyConfig(chunk=2, hidden=(16,)))
    config = DiffusionPolicyConfig(chunk=2, denoising_steps=4, fine_tuned_steps=2, width=16, process=family)
    return DiffusionPolicy(features, actions, config)


def test_the_default_device_is_a_trap(data):
    """A slip would be found."""
    with torch.device("meta"), pytest.raises(RuntimeError):
        data.actions + torch.zeros(data.actions.shape)


@pytest.mark.parametrize(
    ("family", "action_steps", "cell"),
    [
        *[(family, steps, "gru") for family in ("diffusion", "flow", "gaussian") for steps in (1, 2)],
        ("gaussian", 1, "s5"),
    ],
)
def test_the_models_and_their_learners(data, family, action_steps, cell):
    torch.manual_seed(0)
    config = replace(RSSM_PRESETS["tiny"], action_steps=action_steps, cell=cell)
    model = RSSM(data.observation_dim, data.action_dim, config, position_differences(data), data.info.state_names)
    model.fit(data)
    ensemble = LatentEnsemble(model, LatentEnsembleConfig(members=2, hidden=(8,)))
    bootstrap = BootstrapTransitions(ensemble.transitions(data), 2, seed=0)
    classifier = ContrastiveClassifier(model.feature_dim, ContrastiveConfig(hidden=16, embedding=8))
    policy = policy_of(family, model.feature_dim, data.action_dim)
    streams = Streams(in_chunks(data, action_steps)[0], 8)
    ppo = PPO(policy, model.feature_dim, PPOConfig(minibatch_size=8, epochs=1, critic_hidden=(8,)))
    dreamer = Dreamer(policy, model.feature_dim, DreamerConfig(critic_hidden=(8,), anchor_weight=0.1))
    classifier.calibrate(torch.randn(data.num_frames, model.feature_dim), data.success)
    judge = success_of_states(data, seed=0, steps=2)
    with torch.device("meta"):
        # The world model and the ensemble learn; the threshold is calibrated.
        for _ in range(2):
            model.loss(streams.sample(4, generator()))[0].backward()
        ensemble.loss(bootstrap.sample(4, generator()))[0].backward()
        ensemble.calibrate(data)
        model.eval().requires_grad_(False)
        # The policy is cloned.
        versions = [recorded_features(model, data), model.features(model.recorded(data, generator()))]
        frames, chunks = action_chunks(data, policy.config.chunk)
        pairs = _Pairs(torch.cat([v[frames] for v in versions]), chunks.repeat(2, 1, 1), 0.1)
        policy.loss(pairs.sample(4, generator()))[0].backward()
        # The classifier learns from recorded and imagined frames.
        sources = [(0.5, versions[0], data.success), (0.5, *imagined_frames(model, data, seed=0, limit=40))]
        balanced = BalancedFrames(sources, 0.3, 1, 0.5, classifier.probability)
        classifier.loss(balanced.sample(8, generator()))[0].backward()
        # Validation.
        assert held_out_error(model, data, seed=0, horizon=4)["open_loop_error"] > 0
        assert replay(model, judge, data, seed=0, copies=2).imagined.device == CPU
        # Refinement.
        starts = start_states(StartConfig(), data, model)
        rules = ImaginationConfig(num_envs=8, horizon=6, chunk=2, member_share=0.0 if action_steps > 1 else 0.5)
        models = imagined(Models(model, classifier, (ensemble,)))
        env = ImaginedEnv(models, starts, data.action_dim, rules, 0)
        rollout = EnvExperience(env, 0).rollout(policy, 4, generator())
        ppo.learn(rollout, generator())
        dreamer.learn(rollout, generator())
        judged = imagined_evaluation(env, policy, starts.episode_starts(8), 6, seed=0)
        # The gate's plays.
        seen = {key: values[data.starts] for key, values in data.observations.items()}
        played = imagined_play(Agent(model, policy), models, starts.states.rows(data.starts), seen, 6, seed=0)
    assert rollout.features.device == judged.success.device == played.success.device == CPU
