"""The frozen models of a run folder, whichever recipe trained them."""

from pathlib import Path
from typing import Any

from burnish.errors import InputError
from burnish.imagination import Models, Pessimism
from burnish.rewards import ContrastiveClassifier, SuccessClassifier, SuccessReward
from burnish.storage import load_module_config
from burnish.world_models import RSSM, DataSupport, DiffusionWorldModel, DisagreementEnsemble, LatentEnsemble

# A new family of world models or classifiers is one line here.
WORLD_MODELS: dict[str, Any] = {"DiffusionWorldModel": DiffusionWorldModel, "RSSM": RSSM}
CLASSIFIERS: dict[str, Any] = {
    "SuccessClassifier": SuccessClassifier,
    "ContrastiveClassifier": ContrastiveClassifier,
}


def load_frozen(world_model: Path, classifier: Path, ensemble: Path) -> Models:
    """Read the stages of these names; InputError where one is damaged or of an unknown family."""
    model = _family(world_model, WORLD_MODELS).load(world_model)
    if load_module_config(ensemble)["class"] == LatentEnsemble.__name__:
        disagreement = LatentEnsemble.load(ensemble, model)
    else:
        disagreement = DisagreementEnsemble.load(ensemble)
    support = ensemble / "support"
    uncertainties = (disagreement, DataSupport.load(support)) if support.is_dir() else (disagreement,)
    reward = SuccessReward(model, _family(classifier, CLASSIFIERS).load(classifier))
    return Models(model, reward, Pessimism(uncertainties))


def _family(folder: Path, known: dict[str, Any]) -> Any:
    name = load_module_config(folder)["class"]
    if name not in known:
        raise InputError(f"{folder / 'config.json'}: found a {name}, expected one of: {', '.join(known)}")
    return known[name]
