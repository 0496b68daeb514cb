"""World models of both recipes are validated on held-out episodes while they train, and stop where it says so."""

import json
from dataclasses import replace

import pytest

from burnish.recipes.catalogue import entry
from burnish.recipes.runs import NewRun, run_recipe
from burnish.storage import load_tensors
from tests.recipes.small_runs import write_point_data


def train(recipe, data, out, **training):
    """The world model of a recipe's smallest preset, on a point's data; its log by step and its weights."""
    config = entry(recipe).preset("tiny")
    settings = replace(config.world_model_training, steps=40, batch_size=8, log_every=20, **training)
    config = replace(
        config, world_model_training=settings, pretraining=replace(config.pretraining, steps=5), held_out=0.2
    )
    resolved = NewRun(config=config, dataset=data).resolve(recipe)
    run_recipe(out, resolved, ("world_model",), threads=1)
    log = (out / "world_model" / "metrics.jsonl").read_text().splitlines()
    weights, _ = load_tensors(out / "world_model" / "model.safetensors")
    return {row["step"]: row for row in map(json.loads, log)}, weights


@pytest.mark.parametrize("recipe", ["world4rl", "diwa"])
def test_a_world_model_is_validated(recipe, tmp_path):
    data = write_point_data(tmp_path / "data")
    plain, weights = train(recipe, data, tmp_path / "plain")
    log, validated = train(recipe, data, tmp_path / "validated", validate_every=8)
    assert sorted(log) == [8, 16, 20, 24, 32, 40] and sorted(plain) == [20, 40]
    errors = {step: row["validation/open_loop_error"] for step, row in log.items() if step != 20}
    assert all(0.01 < error < 20 for error in errors.values()) and len(set(errors.values())) == 5
    assert {name: log[40][name] for name in plain[40]} == plain[40]
    assert all(tensor.equal(validated[name]) for name, tensor in weights.items())
    # Patience: what the errors say, by hand.
    waiting, best, expected = 0, float("inf"), []
    for step in sorted(errors):
        expected.append(step)
        waiting, best = (0, errors[step]) if errors[step] < best else (waiting + 1, best)
        if waiting == 1:
            break
    stopped, kept = train(recipe, data, tmp_path / "patient", validate_every=8, patience=1)
    assert [step for step in sorted(stopped) if step != 20] == expected
    last = all(tensor.equal(kept[name]) for name, tensor in weights.items())
    assert last == (expected[-1] == 40 and waiting == 0)
