"""Validation while a model trains: it leaves no trace in the weights, and patience ends with the best ones."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from burnish.errors import InputError
from burnish.training import TrainingConfig, fit
from tests.training.test_fit import STEPS, Interrupted, Line, config, make, rows, same


class Told:
    """Answers with given errors, one after another, and remembers the weights and modes that it saw."""

    def __init__(self, model, errors):
        self.model, self.errors, self.seen = model, list(errors), []

    def __call__(self):
        torch.rand(5)  # whatever a validation draws must not be missing afterwards
        assert not self.model.training and not torch.is_grad_enabled()
        self.seen.append({name: tensor.clone() for name, tensor in self.model.state_dict().items()})
        return {"error": self.errors[len(self.seen) - 1], "steps": float(len(self.seen))}


def told(errors, folder, model=None, **changes):
    model = model or make()
    validate = Told(model, errors)
    last = fit(model, Line(), config(validate_every=2, **changes), folder, seed=5, validate=validate)
    return model, validate, last


def measured(model):
    """A validation that depends on the weights alone: the error on a fixed batch."""

    def validate():
        x, y = Line().sample(50, torch.Generator().manual_seed(1))
        return {"error": float((model.layers(x) - y).square().mean())}

    return validate


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_without_patience_the_weights_are_those_without_validation(tmp_path, ema_decay):
    expected = make()
    fit(expected, Line(), config(ema_decay=ema_decay), tmp_path / "plain", seed=5)
    found, validate, last = told([6, 1, 5, 4, 3, 2], tmp_path / "validated", ema_decay=ema_decay)
    assert same(expected, found) and not found.training
    assert len(validate.seen) == 6 and all(torch.equal(t, found.state_dict()[n]) for n, t in validate.seen[-1].items())
    plain, log = rows(tmp_path / "plain"), rows(tmp_path / "validated")
    errors = {row["step"]: row.pop("validation/error") for row in log if "validation/error" in row}
    assert errors == {2: 6, 4: 1, 6: 5, 8: 4, 10: 3, 12: 2}
    assert last["validation/error"] == 2 and last["validation/steps"] == 6
    assert [{k: v for k, v in row.items() if k != "validation/steps"} for row in log] == plain


def test_averaged_weights_are_validated(tmp_path):
    """One linear weight without a gradient but decayed by hand: step size 0.1 lr, the average by its own rule."""

    class Weight(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(1))

        def loss(self, batch):
            return 0 * self.w.sum(), {}

    model, seen = Weight(), []
    settings = TrainingConfig(
        steps=2, batch_size=2, learning_rate=1.0, weight_decay=0.5, ema_decay=0.9, validate_every=1
    )

    def validate():
        seen.append(model.w.item())
        return {"error": 1.0}

    fit(model, Line(), settings, tmp_path, seed=0, validate=validate)
    # Of two steps the first has the whole learning rate, w = 0.5; the second, at the cosine's start, too: w = 0.25.
    # The average is warmed up: decays 2/11 and 3/12.
    first = 1.0 * 2 / 11 + 0.5 * 9 / 11
    second = first * 3 / 12 + 0.25 * 9 / 12
    assert seen == pytest.approx([first, second]) and model.w.item() == pytest.approx(second)


@pytest.mark.parametrize("ema_decay", [None, 0.9])
@pytest.mark.parametrize(
    ("errors", "patience", "validations", "best"),
    [
        ([5, 4, 3, 3, 3.5, 9], 2, 5, 2),  # an equal one is no better; two without a better one are enough
        ([5, 4, 3, 4, 2, 4], 2, 6, 4),  # it counts anew from a better one; then the steps are over
        ([5, math.nan, math.inf, 1, 1, 1], 2, 3, 0),  # what is not a number is never better
        ([1, 2, 3, 4, 5, 6], 1, 2, 0),
        ([6, 5, 4, 3, 2, 1], 1, 6, 5),
    ],
)
def test_patience_by_hand(tmp_path, ema_decay, errors, patience, validations, best):
    model, validate, _ = told(errors, tmp_path, patience=patience, ema_decay=ema_decay)
    assert len(validate.seen) == validations
    assert [row["step"] for row in rows(tmp_path)] == list(range(1, 2 * validations + 1))
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in validate.seen[best].items())
    assert not torch.equal(validate.seen[0]["layers.0.weight"], validate.seen[1]["layers.0.weight"])
    assert not model.training


def test_patience_goes_by_the_number_that_is_named(tmp_path):
    """The second number of `Told` grows with every validation: by it the first weights are the best."""
    _, validate, _ = told([6, 5, 4, 3, 2, 1], tmp_path / "by_steps", patience=2, stop_by="steps")
    assert len(validate.seen) == 3
    with pytest.raises(InputError, match="stop_by: found 'loss', expected one that is validated here: error, steps"):
        told([6, 5], tmp_path / "unknown", patience=2, stop_by="loss")
    with pytest.raises(InputError, match="stop_by is 'steps', but without patience training does not stop"):
        told([6, 5], tmp_path / "never", stop_by="steps")


def test_where_no_number_is_finite_the_last_weights_stay(tmp_path):
    model, validate, _ = told([math.nan] * 6, tmp_path, patience=3)
    assert len(validate.seen) == 3
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in validate.seen[-1].items())


def test_rows_of_validation_are_logged_between_the_others_and_at_the_end(tmp_path):
    model = make()
    settings = config(steps=7, log_every=5, validate_every=3)
    fit(model, Line(), settings, tmp_path, seed=0, validate=measured(model))
    found = {row["step"]: "validation/error" in row for row in rows(tmp_path)}
    assert found == {3: True, 5: False, 6: True, 7: True}
    assert all(math.isfinite(row["loss"]) for row in rows(tmp_path))


@pytest.mark.parametrize("ema_decay", [None, 0.9])
@pytest.mark.parametrize("at", [(3,), (5,), (8,), (3, 6, 8)])
def test_resume_equals_uninterrupted(tmp_path, ema_decay, at):
    """Best after 4 steps, stopped after 8; killed before and after the best, and before the end."""
    errors = {1: 5.0, 2: 1.0, 3: 2.0, 4: 3.0, 5: 0.0}
    settings = config(validate_every=2, patience=2, ema_decay=ema_decay)

    def train(folder, stop=None, seed=0):
        model = make(seed)

        def on_step(step, metrics):
            if step == stop:
                raise Interrupted

        def validate():
            # By the row that was logged last, so that a resumed validation goes on where the other one was.
            return {"error": errors[(rows(folder)[-1]["step"] + 1) // 2]}

        return model, fit(model, Line(), settings, folder, 5, on_step, validate)

    expected, last = train(tmp_path / "whole")
    for stop in at:
        with pytest.raises(Interrupted):
            train(tmp_path / "parts", stop)
    torch.rand(17)
    resumed, again = train(tmp_path / "parts", seed=99)
    assert same(expected, resumed) and again == last
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    assert [row["step"] for row in rows(tmp_path / "parts")] == list(range(1, 9))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validate_every": 3}, "run: validate_every is 3, but here nothing is validated"),
        ({"patience": 3}, "run: validate_every is None and patience 3, expected 1 or more"),
        ({"validate_every": 0}, "run: validate_every is 0 and patience None, expected 1 or more"),
        ({"validate_every": 2, "patience": 0}, "run: validate_every is 2 and patience 0, expected 1 or more"),
    ],
)
def test_what_cannot_be_validated(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        fit(make(), Line(), dataclasses.replace(config(), **changes), tmp_path / "run", seed=0)


def test_unasked_nothing_is_validated(tmp_path):
    def validate():
        raise AssertionError

    fit(make(), Line(), config(), tmp_path, seed=0, validate=validate)
    assert [row["step"] for row in rows(tmp_path)] == list(range(1, STEPS + 1))
