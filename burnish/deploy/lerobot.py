"""A policy as a checkpoint folder for LeRobot."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from burnish.components import save
from burnish.data import ACTION, is_image_key
from burnish.deploy.outside import whole_folder
from burnish.policies import Agent
from burnish.policies.given import AroundPolicy, ChainPolicy, FeatureView, LeRobotPolicy
from burnish.policies.given.base import Given
from burnish.policies.given.statistics import PAIRS
from burnish.policies.robot import observation_shapes
from burnish.storage import save_tensors, write_json

OWN_TYPE = "burnish"
"""The type of what has none of LeRobot's own; the distribution lerobot_policy_burnish reads it."""
AGENT_FOLDER = "agent"


def export_lerobot(agent: Agent, out: Path) -> dict[str, Any]:
    """Write a checkpoint folder: LeRobot's own type where the policy is one of its, else Burnish's.

    Returns:
        the type, and where it is.

    Raises:
        InputError: the folder is there.
    """
    base = own_type(agent)
    with whole_folder(out) as folder:
        if base is None:
            _burnish(agent.eval(), folder)
        else:
            write_checkpoint(base, agent.policy.config.chunk, folder)
    return {"type": OWN_TYPE if base is None else base.kind, "path": str(out)}


def own_type(agent: Agent) -> LeRobotPolicy | None:
    """The policy of LeRobot's that the agent is, once the noise is left out; None where something was added to it."""
    policy = agent.policy
    if not isinstance(policy, AroundPolicy | ChainPolicy) or getattr(policy, "residual", None) is not None:
        return None
    if agent.scaling is not None and agent.scaling.switches:
        return None  # LeRobot's types round nothing
    base: Given = policy.base
    # What reads a world model's memory, or pictures as an encoder draws them, is no policy of the observation alone.
    return base if isinstance(base, LeRobotPolicy) and isinstance(policy.view, FeatureView) else None


def write_checkpoint(base: LeRobotPolicy, chunk: int, folder: Path) -> None:
    """LeRobot's own files of a policy that executes `chunk` actions of each decision."""
    said = {**base.said, "n_action_steps": chunk}
    features = {**said["input_features"], **said["output_features"]}
    tensors = {f"{base.prefix}{name}": tensor for name, tensor in base.network.state_dict().items()}
    save_tensors(folder / "model.safetensors", tensors, {"format": "pt"})
    # Keys that are kept as they are have no statistics; a mode is that of all keys of a type.
    read = [key for key in features if key in (base.inputs or {}) or key == ACTION]
    norm_map = {features[key]["type"]: base.statistics.modes.get(key, "IDENTITY") for key in read}
    write_json(folder / "config.json", {**said, "normalization_mapping": {**_mapping(said), **norm_map}})
    statistics = {
        f"{key}.{name}": tensor
        for key, mode in base.statistics.modes.items()
        for name, tensor in zip(PAIRS[mode], base.statistics.pair(key), strict=True)
    }
    outputs = {key: tensor for key, tensor in statistics.items() if key.startswith(f"{ACTION}.")}
    device = {"device": "cpu", "float_dtype": None}
    before = [
        ("rename_observations_processor", {"rename_map": {}}),
        ("to_batch_processor", {}),
        ("device_processor", device),
    ]
    normalise = {"eps": 1e-8, "features": features, "norm_map": norm_map}
    _processor(folder, "policy_preprocessor", [*before, ("normalizer_processor", normalise)], statistics)
    back = ("unnormalizer_processor", {**normalise, "features": said["output_features"]})
    _processor(folder, "policy_postprocessor", [back, ("device_processor", device)], outputs)


def _burnish(agent: Agent, folder: Path) -> None:
    device = {"device": "cpu", "float_dtype": None}
    inputs = {key: _feature(key, shape) for key, shape in observation_shapes(agent.observer).items()}
    config = {
        "type": OWN_TYPE,
        "n_obs_steps": 1,
        "input_features": inputs,
        "output_features": {ACTION: {"type": "ACTION", "shape": [agent.policy.action_dim]}},
        "device": "cpu",
        "push_to_hub": False,
        "chunk_size": agent.policy.config.chunk,
    }
    write_json(folder / "config.json", config)
    save(folder / AGENT_FOLDER, agent)
    before = [
        ("rename_observations_processor", {"rename_map": {}}),
        ("to_batch_processor", {}),
        ("device_processor", device),
    ]
    _processor(folder, "policy_preprocessor", before, {})
    _processor(folder, "policy_postprocessor", [("device_processor", device)], {})


def _feature(key: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """LeRobot's pictures have their channels first."""
    if is_image_key(key):
        return {"type": "VISUAL", "shape": [shape[2], *shape[:2]]}
    return {"type": "STATE", "shape": [*shape]}


def _processor(
    folder: Path, name: str, steps: list[tuple[str, dict[str, Any]]], statistics: Mapping[str, Tensor]
) -> None:
    """LeRobot's description of a pipeline, and the statistics of the step that has some."""
    described = []
    for number, (kind, config) in enumerate(steps):
        step: dict[str, Any] = {"registry_name": kind, "config": config}
        if kind.endswith("normalizer_processor") and statistics:
            step["state_file"] = f"{name}_step_{number}_{kind}.safetensors"
            save_tensors(folder / step["state_file"], statistics)
        described.append(step)
    write_json(folder / f"{name}.json", {"name": name, "steps": described})


def _mapping(said: Mapping[str, Any]) -> dict[str, Any]:
    found = said.get("normalization_mapping")
    return dict(found) if isinstance(found, dict) else {}
