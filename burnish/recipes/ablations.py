"""Refinement with one of its safety parts taken away: the same stage of the same run, with one thing changed."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from burnish.errors import InputError
from burnish.pipeline import StageContext
from burnish.recipes.steps import Step
from burnish.storage import load_tensors, save_tensors

REFINED = "refined"

Change = Callable[[Any], Any]


def _imagination(**changes: Any) -> Change:
    return lambda config: replace(config, imagination=replace(config.imagination, **changes))


def _refine(**changes: Any) -> Change:
    return lambda config: replace(config, refine=replace(config.refine, **changes))


def _without_anchor(config: Any) -> Any:
    groups = [name for name in ("ppo", "gaussian_ppo") if hasattr(config, name)]
    return replace(config, **{name: replace(getattr(config, name), anchor_weight=0.0) for name in groups})


PARTS: dict[str, str] = {
    "halting": "imagination never halts",
    "disagreement": "the ensemble's disagreement does not halt",
    "distance": "the distance to the data does not halt",
    "anchor": "nothing holds the policy near the pretrained one",
    "members": "every imagined episode follows the world model",
    "average": "every iterate as it is, not a running average",
    "choice": "the last iterate, not the one that imagination chooses",
}
"""What can be taken away, and what is so without it."""

_SETTINGS: dict[str, Change] = {
    "halting": _imagination(halting=False),
    "anchor": _without_anchor,
    "members": _imagination(member_share=0.0),
    "average": _refine(average=0.0),
    # Every judged iterate is "better" than the one before.
    "choice": _refine(margin=-2.0, patience=None),
}
# A threshold that nothing reaches, in this file of the ensemble's stage.
_THRESHOLDS = {"disagreement": "model.safetensors", "distance": "support/model.safetensors"}


def check_part(part: str, config: Any) -> None:
    """InputError where there is no such part, or the recipe does not use it."""
    if part not in PARTS:
        raise InputError(f"unknown part '{part}' of refinement, expected one of: {', '.join(PARTS)}")
    unused = part in _SETTINGS and _SETTINGS[part](config) == config
    if unused or (part == "distance" and not hasattr(config, "support")):
        raise InputError(f"there is no '{part}' to take away: these settings do without it")


def refinement_without(part: str, name: str, config: Any, make_steps: Callable[[Any], list[Step]]) -> Step:
    """The recipe's refinement under the name `name`, without `part`; `make_steps` gives a configuration's stages."""
    check_part(part, config)
    changed = _SETTINGS[part](config) if part in _SETTINGS else config
    step = next(step for step in make_steps(changed) if step.name == REFINED)
    if part in _SETTINGS:
        return replace(step, name=name)

    def body(stage: StageContext) -> dict[str, Any] | None:
        deaf = stage.folder / "ensemble"
        _copy_without_threshold(stage.inputs["ensemble"], deaf, _THRESHOLDS[part])
        stage.inputs["ensemble"] = deaf
        outputs = step.body(stage)
        shutil.rmtree(deaf)
        return outputs

    return replace(step, name=name, config={"without": part, **step.config}, body=body)


def _copy_without_threshold(source: Path, target: Path, file: str) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    tensors, metadata = load_tensors(target / file)
    save_tensors(target / file, tensors | {"threshold": torch.full((), torch.inf)}, metadata)
