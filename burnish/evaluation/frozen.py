"""The frozen models of a run folder, whichever recipe trained them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.errors import InputError
from burnish.rewards import ContrastiveClassifier, SuccessClassifier
from burnish.storage import load_module_config
from burnish.world_models import RSSM, DataSupport, DiffusionWorldModel, DisagreementEnsemble, LatentEnsemble

# A new family of world models or classifiers is one line here.
WORLD_MODELS: dict[str, Any] = {"DiffusionWorldModel": DiffusionWorldModel, "RSSM": RSSM}
CLASSIFIERS: dict[str, Any] = {
    "SuccessClassifier": SuccessClassifier,
    "ContrastiveClassifier": ContrastiveClassifier,
}


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
    model = _family(world_model, WORLD_MODELS).load(world_model)
    if load_module_config(ensemble)["class"] == LatentEnsemble.__name__:
        disagreement = LatentEnsemble.load(ensemble, model)
    else:
        disagreement = DisagreementEnsemble.load(ensemble)
    support = ensemble / "support"
    return FrozenModels(
        model,
        _family(classifier, CLASSIFIERS).load(classifier),
        disagreement,
        DataSupport.load(support) if support.is_dir() else None,
    )


def _family(folder: Path, known: dict[str, Any]) -> Any:
    name = load_module_config(folder)["class"]
    if name not in known:
        raise InputError(f"{folder / 'config.json'}: found a {name}, expected one of: {', '.join(known)}")
    return known[name]
