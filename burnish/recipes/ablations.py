"""Refinement with one of its safety parts taken away: the same recipe with one setting changed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from burnish.errors import InputError

Change = Callable[[Any], Any]


def _imagination(**changes: Any) -> Change:
    return lambda config: replace(config, imagination=replace(config.imagination, **changes))


def _refine(**changes: Any) -> Change:
    return lambda config: replace(config, refine=replace(config.refine, **changes))


def _pessimism(**changes: Any) -> Change:
    return lambda config: _imagination(pessimism=replace(config.imagination.pessimism, **changes))(config)


def _knows_distance(config: Any) -> bool:
    """Whether a recipe measures the distance to the data beside the ensemble's disagreement."""
    return hasattr(config, "support")


def _without_disagreement(config: Any) -> Any:
    return (_pessimism(use=("distance",)) if _knows_distance(config) else _pessimism(rule="none"))(config)


def _without_anchor(config: Any) -> Any:
    found = {name: getattr(config, name) for name in ("ppo", "dreamer") if hasattr(config, name)}
    return replace(config, **{name: replace(learner, anchor_weight=0.0) for name, learner in found.items()})


_CHANGES: dict[str, tuple[str, Change]] = {
    "halting": ("imagination never halts", _pessimism(rule="none")),
    "disagreement": ("the ensemble's disagreement does not halt", _without_disagreement),
    "distance": ("the distance to the data does not halt", _pessimism(use=("disagreement",))),
    "anchor": (
        "nothing holds the policy near the pretrained one",
        _without_anchor,
    ),
    "filtered": (
        "refinement starts from the demonstrations' clone",
        lambda config: replace(config, start_from="bc"),
    ),
    "members": ("every imagined episode follows the world model", _imagination(member_share=0.0)),
    "average": ("every iterate as it is, not a running average", _refine(average=0.0)),
    # Every scored iterate is "better" than the one before.
    "choice": ("the last iterate, not the one that imagination chooses", _refine(margin=-2.0, patience=None)),
}

PARTS: dict[str, str] = {name: words for name, (words, _) in _CHANGES.items()}
"""What can be taken away, and what is so without it."""


def without(part: str, config: Any) -> Any:
    """The configuration without `part`."""
    check_part(part, config)
    return _CHANGES[part][1](config)


def has_part(part: str, config: Any) -> bool:
    """Whether the settings do not do without it anyway."""
    return _CHANGES[part][1](config) != config and (part != "distance" or _knows_distance(config))


def check_part(part: str, config: Any) -> None:
    """InputError where there is no such part, or the settings do without it."""
    if part not in _CHANGES:
        raise InputError(f"unknown part '{part}' of refinement, expected one of: {', '.join(PARTS)}")
    if not has_part(part, config):
        raise InputError(f"there is no '{part}' to take away: these settings do without it")
