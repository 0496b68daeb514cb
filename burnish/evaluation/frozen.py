"""The frozen models of a run folder, whichever recipe trained them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.components import frozen, load
from burnish.rewards import CalibratedClassifier
from burnish.world_models import DataSupport


@dataclass(frozen=True)
class FrozenModels:
    """What imagines, what tells success, and what tells where imagination ends."""

    world_model: Any
    classifier: Any
    disagreement: Any
    support: Any
    """None where the recipe has none."""


def load_frozen(world_model: Path, classifier: Path, ensemble: Path) -> FrozenModels:
    """Read the stages of these names; InputError where one is damaged or of an unknown family."""
    support = ensemble / "support"
    return FrozenModels(
        frozen(load(world_model)),
        frozen(load(classifier, CalibratedClassifier)),
        frozen(load(ensemble)),
        frozen(load(support, DataSupport)) if support.is_dir() else None,
    )
