"""LeRobot policies with the same arbitrary numbers everywhere, whatever draws random numbers elsewhere."""

import json

import numpy as np
import torch

from burnish.data import ACTION, STATE
from burnish.policies.given.lerobot import ENVIRONMENT, LeRobotACT, LeRobotDiffusion

SIZES = {STATE: 2, ENVIRONMENT: 2}
ACTIONS = 2
MEAN_STD = {STATE: "MEAN_STD", ENVIRONMENT: "MEAN_STD", ACTION: "MEAN_STD"}
MIN_MAX = {STATE: "MIN_MAX", ACTION: "MIN_MAX"}

_ACT = {
    "type": "act",
    "chunk_size": 6,
    "n_action_steps": 2,
    "dim_model": 16,
    "n_heads": 2,
    "dim_feedforward": 24,
    "n_encoder_layers": 1,
    "n_decoder_layers": 1,
    "n_vae_encoder_layers": 1,
    "latent_dim": 4,
}
_DIFFUSION = {
    "type": "diffusion",
    "n_obs_steps": 2,
    "horizon": 4,
    "n_action_steps": 2,
    "down_dims": [8, 16],
    "n_groups": 4,
    "diffusion_step_embed_dim": 16,
    "num_train_timesteps": 20,
    "num_inference_steps": 5,
    "noise_scheduler_type": "DDIM",
}


def settings_of(kind, sizes=SIZES, **changes):
    said = {**(_ACT if kind == "act" else _DIFFUSION), **changes}
    types = {STATE: "STATE", ENVIRONMENT: "ENV"}
    said["input_features"] = {key: {"type": types[key], "shape": [size]} for key, size in sizes.items()}
    said["output_features"] = {ACTION: {"type": "ACTION", "shape": [ACTIONS]}}
    return said


def policy_of(kind, sizes=SIZES, scale=1.0, sampling_steps=None, modes=None, **changes):
    """`scale` multiplies the units of the actions."""
    text = json.dumps(settings_of(kind, sizes, **changes))
    if modes is None:
        modes = {key: mode for key, mode in (MEAN_STD if kind == "act" else MIN_MAX).items() if key in (*sizes, ACTION)}
    policy = LeRobotACT(text, modes) if kind == "act" else LeRobotDiffusion(text, modes, sampling_steps)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for name, tensor in sorted(policy.network.state_dict().items()):
            if not name.endswith("vae_encoder_pos_enc"):
                spread = 0.3 if tensor.dim() > 1 else 0.1
                around = 1.0 if "norm" in name and name.endswith("weight") else 0.0
                tensor.copy_(torch.from_numpy(around + spread * rng.standard_normal(tuple(tensor.shape))))
        for key, mode in modes.items():
            size = ACTIONS if key == ACTION else sizes[key]
            low, spread = rng.uniform(-0.5, 0.0, size), rng.uniform(0.5, 1.0, size)
            pair = (low, spread) if mode == "MEAN_STD" else (low - spread, low + spread)
            unit = scale if key == ACTION else 1.0
            policy.statistics.fill(key, tuple(unit * torch.from_numpy(each).float() for each in pair))
    return policy.eval()


def observations(count=6, sizes=SIZES):
    """(count, D) each, the same everywhere."""
    rng = np.random.default_rng(1)
    return {key: torch.from_numpy(rng.standard_normal((count, size))).float() for key, size in sizes.items()}


def played(policy, seen, noise=None):
    """The action at every step of an episode: decisions on the newest frames, executed to their end."""
    actions = []
    for step in range(0, len(next(iter(seen.values()))), policy.chunk):
        frames = [max(0, step - back) for back in range(policy.frames - 1, -1, -1)]
        window = {key: values[frames].unsqueeze(0) for key, values in seen.items()}
        if noise is None:
            chunk = policy.plan(window)
        else:
            chunk = policy.executed(policy.sample(policy.condition(window), noise))
        actions.append(chunk[0])
    return torch.cat(actions)[: len(next(iter(seen.values())))]
