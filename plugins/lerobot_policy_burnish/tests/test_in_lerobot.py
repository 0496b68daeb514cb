"""The same actions in LeRobot as in Burnish: needs LeRobot, which has other dependencies than Burnish's own tests."""

import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("lerobot")
sys.path.insert(0, str(Path(__file__).parents[3] / "tests" / "policies" / "given"))

from checkpoints import MEAN_STD, observations, played, policy_of
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.utils.import_utils import register_third_party_plugins

from burnish.data import STATE
from burnish.deploy.lerobot import export_lerobot, write_checkpoint
from burnish.policies import Agent, DiffusionPolicy, DiffusionPolicyConfig, GaussianPolicy, GaussianPolicyConfig
from burnish.policies.given import AroundPolicy, ChainPolicy, FeatureView, GivenConfig, read_checkpoint
from burnish.world_models import HistoryConfig, ObservationHistory

QUANTILES = {"observation.state": "QUANTILES", "observation.environment_state": "QUANTILE10", "action": "MIN_MAX"}
CASES = {
    "act": ("act", {}),
    "act, normalised before": ("act", {"pre_norm": True, "feedforward_activation": "gelu", "use_vae": False}),
    "act, quantiles": ("act", {"modes": QUANTILES}),
    "diffusion, DDIM": ("diffusion", {}),
    "diffusion, tells actions": (
        "diffusion",
        {"prediction_type": "sample", "beta_schedule": "linear", "n_obs_steps": 1},
    ),
    "diffusion, shifts": ("diffusion", {"use_film_scale_modulation": False, "beta_schedule": "scaled_linear"}),
}


def theirs(folder, seen, noise=None, seed=0):
    """What LeRobot executes at every step, from the folder alone; the seed is of its noise."""
    register_third_party_plugins()
    config = PreTrainedConfig.from_pretrained(folder)
    policy = get_policy_class(config.type).from_pretrained(folder, config=config)
    before, after = make_pre_post_processors(config, pretrained_path=str(folder))
    policy.reset()
    more = {} if noise is None else {"noise": noise}
    actions = []
    torch.manual_seed(seed)
    for step in range(len(next(iter(seen.values())))):
        actions.append(after(policy.select_action(before({key: each[step] for key, each in seen.items()}), **more)))
    return torch.stack(actions).flatten(1)


@pytest.mark.parametrize("case", CASES)
def test_what_burnish_writes_acts_the_same_in_lerobot(case, tmp_path):
    kind, changes = CASES[case]
    policy, seen = policy_of(kind, **changes), observations(9)
    noise = None if kind == "act" else torch.randn(1, policy.horizon, 2)
    write_checkpoint(policy, policy.chunk, tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(theirs(tmp_path, seen, noise), played(policy, seen, noise), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_what_lerobot_writes_acts_the_same_in_burnish(case, tmp_path):
    kind, changes = CASES[case]
    policy, seen = policy_of(kind, **changes), observations(9)
    noise = None if kind == "act" else torch.randn(1, policy.horizon, 2)
    write_checkpoint(policy, policy.chunk, tmp_path / "ours")
    config = PreTrainedConfig.from_pretrained(tmp_path / "ours")
    again = get_policy_class(config.type).from_pretrained(tmp_path / "ours", config=config)
    before, after = make_pre_post_processors(config, pretrained_path=str(tmp_path / "ours"))
    for each in (again, before, after):
        each.save_pretrained(tmp_path / "theirs")
    with torch.no_grad():
        found = played(read_checkpoint(tmp_path / "theirs"), seen, noise)
        torch.testing.assert_close(theirs(tmp_path / "theirs", seen, noise), found, atol=1e-5, rtol=1e-5)


def test_the_noise_of_ddpm_is_drawn_alike(tmp_path):
    """Every step adds noise: the same generator gives the same chain."""
    policy = policy_of("diffusion", noise_scheduler_type="DDPM", num_inference_steps=None)
    write_checkpoint(policy, policy.chunk, tmp_path)
    seen, x = observations(1), torch.randn(1, policy.horizon, 2)
    found = theirs(tmp_path, seen, x, seed=3)
    torch.manual_seed(3)
    condition = policy.condition({key: each[[0, 0]].unsqueeze(0) for key, each in seen.items()})
    with torch.no_grad():
        for step in range(len(policy.level)):
            mean = policy.mean(x, torch.tensor([step]), condition)
            x = mean + (policy.std[step] * torch.randn(x.shape) if step + 1 < len(policy.level) else 0)
    torch.testing.assert_close(found, policy.executed(x)[:, 0], atol=1e-5, rtol=1e-5)


def agent_of(policy, frames=1):
    observer = ObservationHistory(4, 2, HistoryConfig(frames=4, feature_frames=frames))
    observer.normaliser.mean.copy_(torch.tensor([0.1, 0.2, -0.3, 0.0]))
    observer.normaliser.std.copy_(torch.tensor([1.0, 2.0, 0.5, 1.5]))
    return Agent(observer, policy, "reach").eval()


def given_agent(kind, frames=1, **config):
    base = policy_of(kind)
    reads = {"observation.state": (0, 2), "observation.environment_state": (2, 4)}
    view, family = FeatureView(4, 2, frames, reads), AroundPolicy if kind == "act" else ChainPolicy
    agent = agent_of(family(base, view, GivenConfig(**config)), frames)
    view.fit(agent.observer.normaliser, None)
    return agent


def ours(agent, seen):
    agent.begin(1)
    return torch.cat([agent.act({STATE: each.unsqueeze(0)}) for each in seen])


@pytest.mark.parametrize("chunk", [None, 1])
def test_act_comes_back_as_itself(chunk, tmp_path):
    agent, seen = given_agent("act", chunk=chunk), observations(9)
    assert export_lerobot(agent, tmp_path / "out")["type"] == "act"
    found = theirs(tmp_path / "out", seen)
    expected = ours(agent, torch.cat(list(seen.values()), dim=1))
    torch.testing.assert_close(found.clamp(-1, 1), expected, atol=1e-5, rtol=1e-5)


def test_diffusion_comes_back_as_itself(tmp_path):
    """From the same noise; by itself LeRobot draws some, where Burnish begins with none."""
    agent, seen = given_agent("diffusion", 2), observations(9)
    assert export_lerobot(agent, tmp_path / "out")["type"] == "diffusion"
    found = theirs(tmp_path / "out", seen, torch.zeros(1, agent.policy.base.horizon, 2))
    expected = ours(agent, torch.cat(list(seen.values()), dim=1))
    torch.testing.assert_close(found.clamp(-1, 1), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["gaussian", "diffusion", "residual"])
def test_others_act_through_the_plug_in(family, tmp_path):
    torch.manual_seed(0)
    if family == "gaussian":
        agent = agent_of(GaussianPolicy(8, 2, GaussianPolicyConfig(chunk=2, hidden=(16,))), 2)
    elif family == "diffusion":
        config = DiffusionPolicyConfig(chunk=3, denoising_steps=6, fine_tuned_steps=3, width=16)
        policy = DiffusionPolicy(4, 2, config)
        for parameter in policy.network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        agent = agent_of(policy)
    else:
        agent = given_agent("act", refine="residual")
        torch.nn.init.normal_(agent.policy.residual.head.weight)
    assert export_lerobot(agent, tmp_path / "out")["type"] == "burnish"
    seen = {STATE: torch.randn(9, 4)}
    found = theirs(tmp_path / "out", seen)
    torch.testing.assert_close(found, ours(agent, seen[STATE]), atol=1e-5, rtol=1e-5)
    assert found.std() > 0.01


def test_old_checkpoints_with_statistics_among_the_weights(tmp_path):
    """LeRobot before 0.4 kept them there, and its own migration reads them so."""
    from safetensors.torch import load_file, save_file

    policy, seen = policy_of("act", modes=MEAN_STD), observations(5)
    write_checkpoint(policy, policy.chunk, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    for key in MEAN_STD:
        place = "unnormalize_outputs" if key == "action" else "normalize_inputs"
        for name, value in zip(("mean", "std"), policy.statistics.pair(key), strict=True):
            tensors[f"{place}.buffer_{key.replace('.', '_')}.{name}"] = value.clone()
    save_file(tensors, tmp_path / "model.safetensors")
    for path in tmp_path.glob("policy_*"):
        path.unlink()
    with torch.no_grad():
        torch.testing.assert_close(played(read_checkpoint(tmp_path), seen), played(policy, seen))
