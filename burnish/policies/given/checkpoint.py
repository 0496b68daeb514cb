"""Reading a LeRobot checkpoint: config.json, model.safetensors and the statistics of its processors.

The folder is untrusted: nothing is unpickled or imported, and no file outside of it is opened.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from burnish.components import families
from burnish.data import ACTION
from burnish.errors import InputError
from burnish.policies.given.lerobot import LeRobotPolicy, read_settings
from burnish.policies.given.statistics import PAIRS
from burnish.storage import load_tensors, read_bytes, read_json

_PICKLES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}
_PROCESSORS = ("policy_preprocessor.json", "policy_postprocessor.json")
_STEPS = {"rename_observations_processor", "to_batch_processor", "device_processor"}
"""Processors that change no number."""
_NORMALISING = {"normalizer_processor", "unnormalizer_processor"}
_OLD_BUFFERS = ("normalize_inputs.buffer_", "normalize_targets.buffer_", "unnormalize_outputs.buffer_")
"""Where checkpoints before LeRobot 0.4 keep statistics, beside the weights."""

Pair = tuple[Tensor, Tensor]


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder holds a policy of LeRobot's, read or not."""
    path = folder / "config.json"
    said = read_json(path) if path.is_file() else None
    return isinstance(said, dict) and isinstance(said.get("type"), str) and "class" not in said


def read_checkpoint(folder: Path, **how: Any) -> LeRobotPolicy:
    """The policy of a checkpoint's folder; `how` goes to its class.

    Raises:
        InputError: it holds pickles, is of another type than ACT or Diffusion, looks at pictures, or its weights,
            settings and statistics do not fit each other.
    """
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    if pickles:
        raise InputError(
            f"{folder}: found {', '.join(pickles)}, which can run code when it is read; expected safetensors and JSON "
            "alone: save the policy with LeRobot's save_pretrained, or remove what does not belong to it"
        )
    try:
        return _read(folder, how)
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(str(folder)) else f"{folder}: {error}") from None


def _read(folder: Path, how: Mapping[str, Any]) -> LeRobotPolicy:
    text = read_bytes(folder / "config.json").decode(errors="replace")
    kinds: dict[Any, Any] = {each.kind: each for each in families(LeRobotPolicy).values()}  # type: ignore[attr-defined]
    kind = read_settings(text).get("type")
    if kind not in kinds:
        raise InputError(
            f"config.json, type: found {kind!r}, expected one of {', '.join(sorted(kinds))}; serve others from their "
            "own process and give ws://HOST:PORT"
        )
    tensors, _ = load_tensors(folder / "model.safetensors")
    modes, pairs = _processors(folder) or _buffers(read_settings(text), tensors)
    policy: LeRobotPolicy = kinds[kind](text, modes, **how)
    for key in policy.statistics.modes:
        if any(each.shape != policy.statistics.pair(key)[0].shape for each in pairs[key]):
            raise InputError(
                f"the statistics of '{key}' have shape {tuple(pairs[key][0].shape)}, expected config.json's"
            )
        policy.statistics.fill(key, pairs[key])
    _fill(policy, tensors)
    return policy.eval()


def _fill(policy: LeRobotPolicy, tensors: Mapping[str, Tensor]) -> None:
    """The network's weights; InputError for missing, unknown and other ones."""
    found = {
        name.removeprefix(policy.prefix): tensor
        for name, tensor in tensors.items()
        if not name.startswith(_OLD_BUFFERS)
    }
    expected = policy.network.state_dict()
    for name in sorted(set(found) ^ set(expected)):
        what = "is missing" if name in expected else f"is unknown to a policy of type '{policy.kind}'"
        raise InputError(f"model.safetensors: tensor '{policy.prefix}{name}' {what}; config.json describes another one")
    for name, tensor in found.items():
        shape = tuple(expected[name].shape)
        if tensor.shape != shape or not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
            raise InputError(
                f"model.safetensors: tensor '{policy.prefix}{name}' is {tensor.dtype} {tuple(tensor.shape)}, expected "
                f"finite numbers of shape {shape}, as config.json describes"
            )
    policy.network.load_state_dict(found)


# ---------------------------------------------------------------------------------------------------------------------
# Statistics.


def _processors(folder: Path) -> tuple[dict[str, str], dict[str, Pair]] | None:
    """Modes and statistics by key, as the processors' files say; None where there are no such files."""
    if not (folder / _PROCESSORS[0]).is_file():
        return None
    modes: dict[str, str] = {}
    pairs: dict[str, Pair] = {}
    for number, name in enumerate(_PROCESSORS):
        for step in _steps(folder / name):
            found = _normalising(folder, name, step)
            if found is None:
                continue
            for key, (mode, pair) in found.items():
                # Actions are what the second one says; observations the first.
                if (key == ACTION) == (number == 1):
                    modes[key], pairs[key] = mode, pair
    return modes, pairs


def _steps(path: Path) -> list[dict[str, Any]]:
    data = read_json(path)
    steps = data.get("steps") if isinstance(data, dict) else None
    if not isinstance(steps, list) or not all(isinstance(each, dict) for each in steps):
        raise InputError(f"{path}: field 'steps': expected a list of objects")
    return steps


def _normalising(folder: Path, name: str, step: Mapping[str, Any]) -> dict[str, tuple[str, Pair]] | None:
    """By key, what a processor does; None where it changes no number.

    Raises:
        InputError: it does something else, by a class of its own, say.
    """
    kind, config = step.get("registry_name") or step.get("class"), step.get("config") or {}
    if kind in _STEPS or (isinstance(config, dict) and config.get("enabled") is False):
        return None
    if kind not in _NORMALISING or not isinstance(config, dict) or "normalize_observation_keys" in config:
        raise InputError(f"{name}: found the processor {kind!r}, expected normalisation alone")
    features, norm_map, file = config.get("features"), config.get("norm_map"), step.get("state_file")
    if not isinstance(features, dict) or not isinstance(norm_map, dict):
        raise InputError(f"{name}, {kind}: expected features and a norm_map")
    tensors: Mapping[str, Tensor] = {}
    if file is not None:
        if not isinstance(file, str) or Path(file).name != file:
            raise InputError(f"{name}, {kind}, state_file: found {file!r}, expected a file beside it")
        tensors, _ = load_tensors(folder / file)
    types = {key: each.get("type") for key, each in features.items() if isinstance(each, dict)}
    return _chosen(types, norm_map, lambda key, statistic: tensors.get(f"{key}.{statistic}"))


def _buffers(said: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[dict[str, str], dict[str, Pair]]:
    """Modes and statistics of a checkpoint that keeps them among its weights."""
    types = {}
    for name in ("input_features", "output_features"):
        for key, each in (said.get(name) or {}).items():
            types[key] = each.get("type") if isinstance(each, dict) else None
    norm_map = said.get("normalization_mapping")

    def look(key: str, statistic: str) -> Tensor | None:
        names = (f"{prefix}{key.replace('.', '_')}.{statistic}" for prefix in _OLD_BUFFERS)
        return next((tensors[name] for name in names if name in tensors), None)

    chosen = _chosen(types, norm_map if isinstance(norm_map, dict) else {}, look)
    if not chosen:
        raise InputError(
            f"found neither {_PROCESSORS[0]} nor statistics among the weights; without them nothing says in which "
            "units it was trained: save the processors beside it (LeRobot's migration script, or save_pretrained)"
        )
    return {key: mode for key, (mode, _) in chosen.items()}, {key: pair for key, (_, pair) in chosen.items()}


def _chosen(types: Mapping[str, Any], norm_map: Mapping[str, Any], look: Any) -> dict[str, tuple[str, Pair]]:
    found = {}
    for key, kind in types.items():
        mode = norm_map.get(kind, "IDENTITY")
        if kind == "VISUAL" or mode == "IDENTITY":
            continue
        if mode not in PAIRS:
            raise InputError(f"'{key}' is normalised by {mode!r}, expected one of {', '.join(PAIRS)} or IDENTITY")
        pair = [look(key, statistic) for statistic in PAIRS[mode]]
        if pair[0] is None and pair[1] is None:
            continue  # as LeRobot has it: a key without statistics stays as it is
        if any(each is None or not each.isfinite().all() for each in pair):
            raise InputError(f"'{key}' is normalised by {mode}: found no finite {' and '.join(PAIRS[mode])} of it")
        found[key] = (mode, (pair[0], pair[1]))
    return found
