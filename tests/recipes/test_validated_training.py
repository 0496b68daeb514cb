"""World models of both recipes are validated on held-out episodes while they train, and stop where it says so."""

import json
from dataclasses import replace

import pytest

from burnish.errors import InputError
from burnish.recipes.catalogue import entry
from burnish.recipes.how import How
from burnish.recipes.runs import NewRun, execute_targets
from burnish.recipes.stages.training import validation
from burnish.storage import load_tensors
from burnish.training import TrainingConfig
from tests.evaluation.test_prediction import Exact, constant_motion
from tests.recipes.small_runs import write_point_data
from tests.world_models.linear_system import fitted_space


def train(recipe, data, out, **training):
    """The world model of a recipe's smallest preset, on a point's data; its log by step and its weights."""
    config = entry(recipe).preset("tiny")
    settings = replace(config.world_model_training, steps=40, batch_size=8, log_every=20, **training)
    config = replace(
        config, world_model_training=settings, pretraining=replace(config.pretraining, steps=5), held_out=0.2
    )
    resolved = NewRun(config, dataset=data).resolve(recipe)
    execute_targets(out, resolved, [resolved.plan.models.world], How(threads=1))
    log = (out / "world_model" / "metrics.jsonl").read_text().splitlines()
    weights, _ = load_tensors(out / "world_model" / "model.safetensors")
    return {row["step"]: row for row in map(json.loads, log)}, weights


def steps_until_patience_ends(errors):
    """What patience 1 makes of errors by step: the steps that are validated, by hand."""
    best, done = float("inf"), []
    for step in sorted(errors):
        done.append(step)
        if errors[step] >= best:
            break
        best = errors[step]
    return done


@pytest.mark.parametrize("recipe", ["world4rl", "diwa"])
def test_a_world_model_is_validated(recipe, tmp_path):
    data = write_point_data(tmp_path / "data", strays=7)
    plain, weights = train(recipe, data, tmp_path / "plain")
    log, validated = train(recipe, data, tmp_path / "validated", validate_every=8)
    assert sorted(log) == [8, 16, 20, 24, 32, 40] and sorted(plain) == [20, 40]
    errors = {step: row["validation/open_loop_error"] for step, row in log.items() if step != 20}
    assert all(0 < error < 20 for error in errors.values()) and len(set(errors.values())) == 5
    assert {name: log[40][name] for name in plain[40]} == plain[40]
    assert all(tensor.equal(validated[name]) for name, tensor in weights.items())
    outcomes = {step: row["validation/outcome_error"] for step, row in log.items() if step != 20}
    assert all(0 <= error <= 2 for error in outcomes.values()) and len(set(outcomes.values())) > 1
    for name, found in (("open_loop_error", errors), ("outcome_error", outcomes)):
        stopped, kept = train(recipe, data, tmp_path / name, validate_every=8, patience=1, stop_by=name)
        expected = steps_until_patience_ends(found)
        assert [step for step in sorted(stopped) if step != 20] == expected
        best_is_last = min(expected, key=found.__getitem__) == 40
        assert all(tensor.equal(kept[key]) for key, tensor in weights.items()) == best_is_last


def test_without_both_outcomes_there_is_nothing_to_compare_them_by(tmp_path):
    data = constant_motion()
    model = Exact(fitted_space(data))
    settings = TrainingConfig(validate_every=5)
    assert validation(model, data, data, TrainingConfig(), seed=0) is None
    assert set(validation(model, data, data, settings, seed=0)()) == {"open_loop_error"}
    with pytest.raises(InputError, match="found 'outcome_error', expected one of: open_loop_error"):
        validation(model, data, data, replace(settings, patience=1, stop_by="outcome_error"), seed=0)
