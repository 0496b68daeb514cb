"""LeRobot's checkpoints: the numbers that LeRobot 0.4.4 itself gives, and what is refused."""

import json

import numpy as np
import pytest
import torch
from checkpoints import MEAN_STD, SIZES, observations, played, policy_of, settings_of
from safetensors.torch import load_file, save_file

from burnish.data import ACTION, STATE
from burnish.deploy.lerobot import write_checkpoint
from burnish.errors import InputError
from burnish.policies.given import read_checkpoint

# From LeRobot 0.4.4, five steps each; plugins/lerobot_policy_burnish/tests compares where LeRobot is installed.
THEIRS = {
    ("act", ()): [
        [0.607396, 0.913091],
        [0.616607, 0.93059],
        [0.737122, 0.876671],
        [0.758816, 0.88553],
        [0.561915, 0.976134],
    ],
    ("act", (("pre_norm", True), ("feedforward_activation", "gelu"), ("use_vae", False))): [
        [0.715207, 0.496671],
        [-0.270158, 0.035245],
        [-0.223028, 0.020132],
        [-1.07444, -0.43451],
        [-0.277836, -0.369879],
    ],
    ("diffusion", ()): [
        [-0.663354, -0.983823],
        [0.570809, 0.333079],
        [-0.664713, -0.981298],
        [0.565292, 0.328921],
        [-0.657529, -0.983789],
    ],
    ("diffusion", (("prediction_type", "sample"), ("beta_schedule", "linear"), ("n_obs_steps", 1))): [
        [-0.069269, -0.213532],
        [-0.071371, -0.214183],
        [-0.074143, -0.172036],
        [-0.078154, -0.209138],
        [-0.071348, -0.210585],
    ],
}


@pytest.mark.parametrize(("kind", "changes"), THEIRS)
@torch.no_grad()
def test_they_act_as_in_lerobot(kind, changes):
    policy = policy_of(kind, **dict(changes))
    noise = None
    if kind == "diffusion":
        noise = torch.from_numpy(np.random.default_rng(2).standard_normal((1, policy.horizon, 2))).float()
    found = played(policy, observations(5), noise)
    torch.testing.assert_close(found, torch.tensor(THEIRS[kind, changes]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["act", "diffusion"])
@torch.no_grad()
def test_a_checkpoint_is_read_as_it_was_written(kind, tmp_path):
    policy = policy_of(kind)
    write_checkpoint(policy, policy.chunk, tmp_path)
    found, seen = read_checkpoint(tmp_path), observations()
    assert type(found) is type(policy) and found.chunk == policy.chunk and found.inputs == SIZES
    assert torch.equal(played(found, seen), played(policy, seen))
    for name, tensor in policy.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor)


def test_fewer_sampling_steps_are_ddim():
    policy = policy_of("diffusion", noise_scheduler_type="DDPM", num_inference_steps=None)
    fewer = policy_of("diffusion", noise_scheduler_type="DDPM", num_inference_steps=None, sampling_steps=4)
    assert len(policy.level) == 20 and bool((policy.std[:-1] > 0).all()) and policy.std[-1] == 0
    assert fewer.level.tolist() == [15, 10, 5, 0] and not bool(fewer.std.any())
    assert fewer.said["num_inference_steps"] == 4 and fewer.said["noise_scheduler_type"] == "DDIM"


def test_gradients_reach_what_acts_alone():
    """Not the variational encoder, which only LeRobot's training asks."""
    policy = policy_of("act")
    policy.plan({key: each[:1].unsqueeze(0) for key, each in observations(1).items()}).sum().backward()
    for name, parameter in policy.network.named_parameters():
        assert (parameter.grad is None) == name.startswith("vae_encoder"), name


def test_statistics_among_the_weights(tmp_path):
    """As LeRobot before 0.4 keeps them."""
    policy, seen = policy_of("act", modes=MEAN_STD), observations(5)
    write_checkpoint(policy, policy.chunk, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    for key in MEAN_STD:
        place = "unnormalize_outputs" if key == ACTION else "normalize_inputs"
        for name, value in zip(("mean", "std"), policy.statistics.pair(key), strict=True):
            tensors[f"{place}.buffer_{key.replace('.', '_')}.{name}"] = value.clone()
    save_file(tensors, tmp_path / "model.safetensors")
    for path in tmp_path.glob("policy_*"):
        path.unlink()
    with torch.no_grad():
        assert torch.equal(played(read_checkpoint(tmp_path), seen), played(policy, seen))


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("act", {"type": "pi0"}, "type: found 'pi0', expected one of act, diffusion"),
        ("act", {"temporal_ensemble_coeff": 0.01}, "temporal_ensemble_coeff"),
        ("act", {"n_action_steps": 7}, "n_action_steps: found 7, expected a whole number from 1 to 6"),
        ("act", {"dim_model": "wide"}, "dim_model"),
        ("act", {"dim_model": 32}, "shape"),
        ("act", {"n_decoder_layers": 2}, "is missing"),
        ("diffusion", {"noise_scheduler_type": "LCM"}, "noise_scheduler_type: found 'LCM'"),
        ("diffusion", {"horizon": 5}, "horizon: found 5"),
        ("diffusion", {"num_inference_steps": 0}, "num_inference_steps: found 0"),
    ],
)
def test_settings_that_mean_something_else_are_refused(kind, changes, said, tmp_path):
    policy = policy_of(kind)
    write_checkpoint(policy, policy.chunk, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**policy.said, **changes}))
    with pytest.raises(InputError, match=said) as found:
        read_checkpoint(tmp_path)
    assert str(tmp_path) in str(found.value)


def test_pictures_are_refused(tmp_path):
    policy = policy_of("act")
    write_checkpoint(policy, policy.chunk, tmp_path)
    said = settings_of("act")
    said["input_features"]["observation.images.front"] = {"type": "VISUAL", "shape": [3, 480, 640]}
    (tmp_path / "config.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match=r"camera 'observation.images.front'.*ws://HOST:PORT"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "optimizer.pt", "policy.pth", "stats.pkl"])
def test_checkpoints_with_pickles_are_refused(name, tmp_path):
    policy = policy_of("act")
    write_checkpoint(policy, policy.chunk, tmp_path)
    (tmp_path / name).write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match=rf"found {name}, which can run code"):
        read_checkpoint(tmp_path)


def _processor(folder, number, changes):
    path = folder / "policy_preprocessor.json"
    data = json.loads(path.read_text())
    data["steps"][number].update(changes)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("number", "changes", "said"),
    [
        (1, {"registry_name": "tokenizer_processor"}, "found the processor 'tokenizer_processor'"),
        (1, {"registry_name": None, "class": "os.system"}, "found the processor 'os.system'"),
        (3, {"state_file": "../elsewhere.safetensors"}, "expected a file beside it"),
        (3, {"state_file": "missing.safetensors"}, "missing.safetensors"),
        (3, {"config": {"features": 3, "norm_map": {}}}, "expected features and a norm_map"),
    ],
)
def test_processors_that_do_something_else_are_refused(number, changes, said, tmp_path):
    policy = policy_of("act")
    write_checkpoint(policy, policy.chunk, tmp_path)
    _processor(tmp_path, number, changes)
    with pytest.raises(InputError, match=said):
        read_checkpoint(tmp_path)


def test_damaged_weights_are_refused(tmp_path):
    policy = policy_of("act")
    write_checkpoint(policy, policy.chunk, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    name = next(iter(tensors))
    for wrong in (tensors[name] * float("nan"), tensors[name][:0]):
        save_file({**tensors, name: wrong.contiguous()}, tmp_path / "model.safetensors")
        with pytest.raises(InputError, match=r"model.safetensors: tensor .* expected finite numbers"):
            read_checkpoint(tmp_path)
    save_file({**tensors, "model.extra": tensors[name].clone()}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"'model.extra' is unknown"):
        read_checkpoint(tmp_path)


def test_without_statistics_nothing_is_guessed(tmp_path):
    policy = policy_of("act")
    write_checkpoint(policy, policy.chunk, tmp_path)
    (tmp_path / "policy_preprocessor.json").unlink()
    with pytest.raises(InputError, match=r"found neither policy_preprocessor.json nor statistics"):
        read_checkpoint(tmp_path)


def test_a_key_without_statistics_stays_as_it_is():
    policy = policy_of("act", modes={STATE: "MEAN_STD"})
    values = torch.tensor([[3.0, 4.0]])
    assert torch.equal(policy.statistics.denormalise(ACTION, values), values)
    assert not torch.equal(policy.statistics.normalise(STATE, values), values)
