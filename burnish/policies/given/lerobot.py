"""Policies of LeRobot's checkpoints, ACT and Diffusion: the same numbers for the same observations."""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.config import from_dict
from burnish.data import ACTION, STATE
from burnish.errors import InputError
from burnish.networks.act import ACTNetwork, ACTNetworkConfig
from burnish.networks.conditional_unet import ConditionalUNet, ConditionalUNetConfig
from burnish.policies.denoising import cosine_signal
from burnish.policies.given.base import Given
from burnish.policies.given.statistics import Statistics

ENVIRONMENT = "observation.environment_state"
ConfigT = TypeVar("ConfigT")


class LeRobotPolicy(Given, register=False):
    """What both types have in common.

    Args:
        settings: the checkpoint's config.json, as text.
        modes: how each key is normalised, by the checkpoint's processors.

    Raises:
        InputError: settings that are none, or that mean something which is not read here.
    """

    kind: ClassVar[str]
    """LeRobot's name of the type."""
    prefix: ClassVar[str]
    """Of the network's weights in LeRobot's file; here they are `network.`."""
    network: nn.Module
    learns = True

    def __init__(self, settings: str, modes: Mapping[str, str]) -> None:
        super().__init__()
        self.said = read_settings(settings)
        if self.said.get("type") != self.kind:
            raise InputError(f"config.json, type: found {self.said.get('type')!r}, expected '{self.kind}'")
        self.inputs, self.action_dim = _inputs(self.said), _action_dim(self.said)
        self.statistics = Statistics({**self.inputs, ACTION: self.action_dim}, modes)

    def normalised(self, observation: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Every input as the network reads it, (B, frames, D)."""
        return {key: self.statistics.normalise(key, observation[key]) for key in self.inputs or ()}


class LeRobotACT(LeRobotPolicy):
    """An action chunking transformer; `plan` is what `select_action` executes before it predicts again."""

    kind, prefix, frames = "act", "model.", 1

    def __init__(self, settings: str, modes: Mapping[str, str]) -> None:
        super().__init__(settings, modes)
        assert self.inputs is not None and self.action_dim is not None
        if self.said.get("temporal_ensemble_coeff") is not None:
            raise InputError(
                "config.json, temporal_ensemble_coeff: found a number, expected null: an ensemble over earlier "
                "decisions cannot be refined; set it to null and n_action_steps to the actions of one decision"
            )
        config = _network_config(ACTNetworkConfig, self.said)
        self.chunk = _whole(self.said, "n_action_steps", 1, config.chunk_size)
        sizes = self.inputs.get(STATE, 0), self.inputs.get(ENVIRONMENT, 0)
        self.network = ACTNetwork(*sizes, self.action_dim, config)

    def plan(self, observation: Mapping[str, Float[Tensor, "B 1 D"]]) -> Float[Tensor, "B T_a A"]:
        """The first actions of the predicted chunk."""
        seen = {key: values[:, -1] for key, values in self.normalised(observation).items()}
        chunk = self.network(seen.get(STATE), seen.get(ENVIRONMENT))
        return self.statistics.denormalise(ACTION, chunk[:, : self.chunk])


class LeRobotDiffusion(LeRobotPolicy):
    """A diffusion policy: its network, and the steps of its sampler.

    A step's mean is `of_clean` · clean + `of_x` · x + `of_noise` · noise, where the network's output tells clean
    actions and noise; its standard deviation is `std`, 0 where a sampler (DDIM) adds none.

    Args:
        sampling_steps: instead of the checkpoint's number; then the sampler is DDIM, whatever it was.
    """

    kind, prefix = "diffusion", "diffusion.unet."
    level: Tensor
    signal: Tensor
    of_clean: Tensor
    of_x: Tensor
    of_noise: Tensor
    std: Tensor

    def __init__(self, settings: str, modes: Mapping[str, str], sampling_steps: int | None = None) -> None:
        super().__init__(settings, modes)
        assert self.inputs is not None and self.action_dim is not None
        said = self.said
        if STATE not in self.inputs:
            raise InputError(f"config.json, input_features: found no '{STATE}', expected it in a diffusion policy")
        config = _network_config(ConditionalUNetConfig, said)
        self.frames = _whole(said, "n_obs_steps", 1, 1000, 2)
        self.horizon = _whole(said, "horizon", 1, 100_000, 16)
        self.chunk = _whole(said, "n_action_steps", 1, self.horizon - self.frames + 1, 8)
        if self.horizon % 2 ** (len(config.down_dims) - 1):
            raise InputError(f"config.json, horizon: found {self.horizon}, which down_dims cannot halve that often")
        self.tells_noise = _one_of(said, "prediction_type", "epsilon", ("epsilon", "sample")) == "epsilon"
        self.clip = float(said.get("clip_sample_range", 1.0)) if said.get("clip_sample", True) else math.inf
        self.sampler = _one_of(said, "noise_scheduler_type", "DDPM", ("DDPM", "DDIM"))
        levels = _whole(said, "num_train_timesteps", 1, 100_000, 100)
        if sampling_steps is not None:
            said["num_inference_steps"], said["noise_scheduler_type"] = sampling_steps, "DDIM"
            self.sampler = "DDIM"
        steps = levels if said.get("num_inference_steps") is None else _whole(said, "num_inference_steps", 1, levels)
        for name, values in sampler_steps(_signal(said, levels), steps, self.sampler).items():
            self.register_buffer(name, values, persistent=False)
        self.network = ConditionalUNet(self.action_dim, self.frames * sum(self.inputs.values()), config)

    def condition(self, observation: Mapping[str, Float[Tensor, "B frames D"]]) -> Float[Tensor, "B C"]:
        """What the network is told of the observation."""
        seen = self.normalised(observation)
        return torch.cat([seen[key] for key in (STATE, ENVIRONMENT) if key in seen], dim=-1).flatten(1)

    def mean(self, x: Float[Tensor, "B T A"], step: Tensor, condition: Tensor) -> Float[Tensor, "B T A"]:
        """Of the next, less noisy actions after the sampling steps `step` (B,)."""
        output = self.network(x, self.level[step], condition)

        def at(values: Tensor) -> Tensor:
            return values[step].view(-1, 1, 1)

        signal = at(self.signal)
        clean = (x - (1 - signal).sqrt() * output) / signal.sqrt() if self.tells_noise else output
        noise = output if self.tells_noise else (x - signal.sqrt() * output) / (1 - signal).sqrt()
        clean = clean.clamp(-self.clip, self.clip)
        return at(self.of_clean) * clean + at(self.of_x) * x + at(self.of_noise) * noise

    def sample(self, condition: Float[Tensor, "B C"], noise: Tensor) -> Float[Tensor, "B horizon A"]:
        """Normalised actions from `noise` (B, horizon, A), with none added on the way."""
        x = noise
        for number in range(len(self.level)):
            x = self.mean(x, torch.full((len(x),), number, device=x.device), condition)
        return x

    def executed(self, actions: Float[Tensor, "B horizon A"]) -> Float[Tensor, "B T_a A"]:
        """The part of normalised actions that is executed, in the data's units."""
        first = self.frames - 1
        return self.statistics.denormalise(ACTION, actions[:, first : first + self.chunk])

    def plan(self, observation: Mapping[str, Float[Tensor, "B frames D"]]) -> Float[Tensor, "B T_a A"]:
        """From no noise at all: the same observation gives the same actions."""
        condition = self.condition(observation)
        shape = (len(condition), self.horizon, self.action_dim or 0)
        return self.executed(self.sample(condition, condition.new_zeros(shape)))


def sampler_steps(signal: Float[Tensor, " K"], steps: int, sampler: str) -> dict[str, Tensor]:
    """What each of `steps` sampling steps needs, noisiest first, from ᾱ of all levels.

    DDPM's posterior (arXiv 2006.11239, Eq. 7), or DDIM without noise (arXiv 2010.02502, Eq. 12), on evenly spaced
    levels from 0 on.
    """
    stride = len(signal) // steps
    level = torch.arange(steps - 1, -1, -1) * stride
    here, before = signal[level], torch.cat([signal[level[1:]], torch.ones(1, dtype=signal.dtype)])
    found = {"level": level, "signal": here, "std": torch.zeros_like(here)}
    if sampler == "DDIM":
        return found | {"of_clean": before.sqrt(), "of_x": torch.zeros_like(here), "of_noise": (1 - before).sqrt()}
    alpha = here / before
    return found | {
        "of_clean": before.sqrt() * (1 - alpha) / (1 - here),
        "of_x": alpha.sqrt() * (1 - before) / (1 - here),
        "of_noise": torch.zeros_like(here),
        "std": ((1 - before) / (1 - here) * (1 - alpha)).clamp(min=0).sqrt(),
    }


def read_settings(text: str) -> dict[str, Any]:
    """A checkpoint's config.json; InputError where it is none."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"config.json: not a valid JSON file: {error}") from None
    if not isinstance(said, dict):
        raise InputError(f"config.json: found a {type(said).__name__}, expected an object")
    return said


def _signal(said: Mapping[str, Any], levels: int) -> Float[Tensor, " K"]:
    """ᾱ of all levels; in float32 from β on, as the samplers of checkpoints have it."""
    schedule = _one_of(said, "beta_schedule", "squaredcos_cap_v2", ("squaredcos_cap_v2", "linear", "scaled_linear"))
    low, high = float(said.get("beta_start", 1e-4)), float(said.get("beta_end", 0.02))
    if schedule == "squaredcos_cap_v2":
        signal = cosine_signal(levels)
        beta = (1 - signal / torch.cat([torch.ones(1, dtype=signal.dtype), signal[:-1]])).float()
    elif schedule == "linear":
        beta = torch.linspace(low, high, levels)
    else:
        beta = torch.linspace(low**0.5, high**0.5, levels).square()
    return (1 - beta).cumprod(0)


def _inputs(said: Mapping[str, Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, feature in _features(said, "input_features").items():
        if feature["type"] == "VISUAL":
            raise InputError(
                f"config.json, input_features: found the camera '{key}', expected states alone: policies that look at "
                "pictures are not read yet; serve it from its own process and give it as ws://HOST:PORT"
            )
        if key in (STATE, ENVIRONMENT):
            found[key] = _size(key, feature)
    if not found:
        raise InputError(f"config.json, input_features: found neither '{STATE}' nor '{ENVIRONMENT}', expected one")
    return found


def _action_dim(said: Mapping[str, Any]) -> int:
    features = _features(said, "output_features")
    if ACTION not in features:
        raise InputError(f"config.json, output_features: found {sorted(features)}, expected '{ACTION}'")
    return _size(ACTION, features[ACTION])


def _features(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = said.get(name)
    if not isinstance(found, dict) or not all(
        isinstance(each, dict) and isinstance(each.get("type"), str) and isinstance(each.get("shape"), list)
        for each in found.values()
    ):
        raise InputError(f"config.json, {name}: expected a type and a shape for each key")
    return found


def _size(key: str, feature: Mapping[str, Any]) -> int:
    shape = feature["shape"]
    if len(shape) != 1 or not isinstance(shape[0], int) or not 1 <= shape[0] <= 100_000:
        raise InputError(f"config.json: '{key}' has shape {shape}, expected one size")
    return shape[0]


def _network_config(config: type[ConfigT], said: Mapping[str, Any]) -> ConfigT:
    """The fields of a configuration that are among the settings; others as they are by default."""
    values = {}
    for each in fields(config):  # type: ignore[arg-type]
        assert each.default is not MISSING
        value = said.get(each.name, each.default)
        values[each.name] = list(value) if isinstance(value, tuple) else value
    return from_dict(config, values, "config.json")


def _whole(said: Mapping[str, Any], name: str, low: int, high: int, default: int | None = None) -> int:
    value = said.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(f"config.json, {name}: found {value!r}, expected a whole number from {low} to {high}")
    return value


def _one_of(said: Mapping[str, Any], name: str, default: str, expected: tuple[str, ...]) -> str:
    value = said.get(name, default)
    if value not in expected:
        raise InputError(f"config.json, {name}: found {value!r}, expected one of {', '.join(expected)}")
    return value
