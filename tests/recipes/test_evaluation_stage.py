"""What the evaluation says of the models, on a system with a known law."""

import torch

from burnish.imagination import Models, Pessimism
from burnish.recipes.stages.evaluation import measure_models
from burnish.storage import read_json
from burnish.world_models import DisagreementEnsemble, EnsembleConfig
from tests.evaluation.test_prediction import Exact, constant_motion
from tests.world_models.linear_system import fitted_space


def measured(held_out, folder):
    """A model that drifts by 0.02 a step, doubted by an untrained ensemble."""
    space = fitted_space(constant_motion(episodes=6, length=40, apart=0))
    torch.manual_seed(0)
    ensemble = DisagreementEnsemble(space, EnsembleConfig(members=3, hidden=(8,)))
    ensemble.calibrate(held_out)
    unsure = Pessimism((ensemble.requires_grad_(False),))
    sections = measure_models(held_out, Models(Exact(space, bias=0.02), None, unsure), 0, folder)
    return read_json(folder / "uncertainty.json"), sections


def test_the_calibration_of_disagreement_lies_beside_the_prediction(tmp_path):
    """Six episodes with 20 windows each; the error after h steps is 0.02 h, so one step's factor falls short."""
    found, sections = measured(constant_motion(episodes=6, length=40, apart=0), tmp_path)
    assert found["horizon"] == read_json(tmp_path / "prediction.json")["horizon"] == list(range(1, 21))
    assert found["episodes"] == 6 and found["windows"] == {"calibration": 60, "test": 60}
    assert found["factor"][9] > 3 * found["factor"][0]
    assert found["coverage"]["recalibrated"][9] > 0.5 > found["coverage"]["one_step_factor"][9]
    assert len(sections) == 3 and not any(section.missing for section in sections)


def test_too_few_episodes_are_said(tmp_path):
    found, sections = measured(constant_motion(episodes=3, length=40), tmp_path)
    assert found == {
        "missing": "Whether disagreement is calibrated was not measured: found 3 held-out episodes that are long "
        "enough, expected 4."
    }
    assert [section.missing for section in sections] == [(), (), (found["missing"],)]
