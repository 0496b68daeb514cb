"""What the evaluation says of the models, on a system with a known law."""

import torch

from burnish.imagination import Models, Pessimism
from burnish.recipes.stages.evaluation import measure_models, measure_pictures
from burnish.report.section import merged
from burnish.storage import read_json
from burnish.world_models import DisagreementEnsemble, EnsembleConfig
from tests.evaluation.moving_square import SquareWorld, squares
from tests.evaluation.test_prediction import Exact, constant_motion
from tests.world_models.linear_system import fitted_space


def measured(held_out, folder):
    """A model that drifts by 0.02 a step, beside an untrained ensemble: the section and the calibration."""
    space = fitted_space(constant_motion(episodes=6, length=40, apart=0))
    torch.manual_seed(0)
    ensemble = DisagreementEnsemble(space, EnsembleConfig(members=3, hidden=(8,)))
    ensemble.calibrate(held_out)
    models = Models(Exact(space, bias=0.02), None, Pessimism((ensemble.requires_grad_(False),)))
    (section,) = merged(measure_models(held_out, models, 0, folder))
    return section, read_json(folder / "uncertainty.json")


def test_the_calibration_of_disagreement_lies_beside_the_prediction(tmp_path):
    """Six episodes with 20 windows each; the error after h steps is 0.02 h, so one step's factor falls short."""
    section, found = measured(constant_motion(episodes=6, length=40, apart=0), tmp_path)
    assert found["horizon"] == read_json(tmp_path / "prediction.json")["horizon"] == list(range(1, 21))
    assert found["episodes"] == 6 and found["windows"] == {"calibration": 60, "test": 60}
    assert found["factor"][9] > 3 * found["factor"][0]
    assert found["coverage"]["recalibrated"][9] > 0.5 > found["coverage"]["one_step_factor"][9]
    assert [plot.title for plot in section.plots] == [
        "Open-loop prediction error",
        "Disagreement against true error",
        "Uncertainty: is its scale right?",
        "Uncertainty: does it rank errors?",
    ]


def test_too_few_episodes_are_said(tmp_path):
    section, found = measured(constant_motion(episodes=3, length=40), tmp_path)
    assert section.missing == (found["missing"],) and len(section.plots) == 2
    assert found["missing"].endswith("found 3 held-out episodes that are long enough, expected 4.")


def test_one_window_of_pictures_is_enough_for_the_rest(tmp_path):
    """One held-out episode that is as long as the horizon: nothing to swap actions with, and no reason to stop."""
    section = measure_pictures(squares([("policy", 12, [1] * 3)]), SquareWorld(), 0, tmp_path, windows=8)
    found = read_json(tmp_path / "fidelity.json")
    assert found["sources"]["policy"]["windows"] == 1 and len(section.plots) > 0
    assert section.missing == (found["action_following"]["missing"],)
    assert "found one window of 4 frames" in section.missing[0]
