"""Refinement with one of its safety parts taken away: the same stage of the same run, with one thing changed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from burnish.errors import InputError
from burnish.recipes.steps import Step

REFINED = "refined"

Change = Callable[[Any], Any]


def _imagination(**changes: Any) -> Change:
    return lambda config: replace(config, imagination=replace(config.imagination, **changes))


def _pessimism(**changes: Any) -> Change:
    def change(config: Any) -> Any:
        return _imagination(pessimism=replace(config.imagination.pessimism, **changes))(config)

    return change


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
    "halting": _pessimism(rule="none"),
    "disagreement": _pessimism(use=("distance",)),
    "distance": _pessimism(use=("disagreement",)),
    "anchor": _without_anchor,
    "members": _imagination(member_share=0.0),
    "average": _refine(average=0.0),
    # Every judged iterate is "better" than the one before.
    "choice": _refine(margin=-2.0, patience=None),
}


def check_part(part: str, config: Any) -> None:
    """InputError where there is no such part, or the recipe does not use it."""
    if part not in PARTS:
        raise InputError(f"unknown part '{part}' of refinement, expected one of: {', '.join(PARTS)}")
    unused = _SETTINGS[part](config) == config
    if unused or (part == "distance" and not hasattr(config, "support")):
        raise InputError(f"there is no '{part}' to take away: these settings do without it")


def refinement_without(part: str, name: str, config: Any, make_steps: Callable[[Any], list[Step]]) -> Step:
    """The recipe's refinement under the name `name`, without `part`; `make_steps` gives a configuration's stages."""
    check_part(part, config)
    step = next(step for step in make_steps(_SETTINGS[part](config)) if step.name == REFINED)
    return replace(step, name=name)
