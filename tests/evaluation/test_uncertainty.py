"""Calibration of disagreement: a quantile by hand, and made-up ensembles whose coverage is known."""

import json
import math
from dataclasses import replace

import pytest
import torch

from burnish.errors import InputError
from burnish.evaluation.prediction import OpenLoop
from burnish.evaluation.uncertainty import conformal_quantile, uncertainty

EPISODES, WINDOWS, HORIZON = 40, 50, 5


def open_loop(noise=0.3, growth=1.0, seed=0) -> OpenLoop:
    """Errors after h steps that are h^growth times the mean disagreement so far, times log-normal noise."""
    generator = torch.Generator().manual_seed(seed)
    shape = (EPISODES * WINDOWS, HORIZON)
    doubt = torch.rand(shape, generator=generator) + 0.2
    steps = torch.arange(1, HORIZON + 1)
    mean = doubt.cumsum(1) / steps
    error = steps**growth * mean * (noise * torch.randn(shape, generator=generator)).exp()
    return OpenLoop(error, error, doubt, torch.arange(EPISODES).repeat_interleave(WINDOWS))


def test_conformal_quantile_by_hand():
    """Of 19 scores the 18th: ⌈20 · 0.9⌉; of 9 the largest; of 8 none, for ⌈9 · 0.9⌉ is 9."""
    scores = torch.arange(1.0, 20.0)[torch.randperm(19, generator=torch.Generator().manual_seed(0))]
    assert conformal_quantile(torch.stack([scores, -scores], 1), 0.9).tolist() == [18, -2]
    assert conformal_quantile(torch.arange(9.0)[:, None], 0.9).item() == 8
    assert conformal_quantile(torch.arange(1.0, 70.0)[:, None], 0.9).item() == 63
    with pytest.raises(InputError, match="found 8 windows to calibrate on, expected 9"):
        conformal_quantile(torch.arange(8.0)[:, None], 0.9)


def test_everything_by_hand():
    """Four episodes of 10 windows each; disagreement 1, then 3: means 1 and 2, the floor 1, so bounds of 2 q and 3 q.

    The errors of each episode are 2, 4, …, 20 after one step, so q is the 19th of 20 scores 1, 1, 2, 2, …, 10, 10: 10.
    After two steps all are 30, and q is 10 again; in the test half nothing is larger.
    """
    error = torch.stack([2 * torch.arange(1.0, 11.0), torch.full((10,), 30.0)], 1).repeat(4, 1)
    result = OpenLoop(error, error, torch.tensor([[1.0, 3.0]]).repeat(40, 1), torch.arange(4).repeat_interleave(10))
    found = uncertainty(result, seed=0)
    assert found.floor == 1 and found.spread == 1
    assert found.factor.tolist() == [10, 10]
    assert found.coverage.tolist() == found.coverage_one_step.tolist() == [1, 1]
    assert found.coverage_low.tolist() == [1, 1] and found.coverage_high.isnan().all()
    assert found.correlation.isnan().all()
    assert (found.episodes, found.calibration_windows, found.test_windows) == (4, 20, 20)
    # The one-step factor falls short where errors have grown ten times further; its own factor does not.
    grown = uncertainty(replace(result, model_error=error * torch.tensor([1.0, 10.0])), seed=0)
    assert grown.factor.tolist() == [10, 100]
    assert grown.coverage.tolist() == [1, 1] and grown.coverage_one_step.tolist() == [1, 0]


def test_recalibration_reaches_the_wanted_coverage_at_every_horizon():
    """Errors that grow with the horizon: the factor grows along, and the one-step factor covers less and less."""
    found = uncertainty(open_loop(growth=1.0), seed=0)
    assert found.coverage.tolist() == pytest.approx([0.9] * HORIZON, abs=0.03)
    assert (found.factor.diff() > 0.5).all()
    assert found.coverage_one_step[0] == found.coverage[0]
    assert (found.coverage_one_step.diff() < 0).all() and found.coverage_one_step[-1] < 0.05


def test_coverage_holds_on_average():
    """P(covered) of a split-conformal bound is ⌈(n + 1) 0.9⌉ / (n + 1): 0.9001 for 1000 windows."""
    mean = torch.stack([uncertainty(open_loop(seed=seed), seed).coverage for seed in range(20)]).mean(0)
    assert mean.tolist() == pytest.approx([0.9001] * HORIZON, abs=0.01)


def test_an_episode_is_in_one_half_as_a_whole():
    """One of four has errors of 100 instead of 1: the factor knows of it, or half of the windows are missed."""
    lengths = torch.tensor([10, 20, 40, 80])
    episode = torch.arange(4).repeat_interleave(lengths)
    seen = set()
    for seed in range(20):
        found = uncertainty(OpenLoop(*[torch.ones(150, 1)] * 3, episode), seed)
        seen.add(found.calibration_windows)
        assert found.test_windows == 150 - found.calibration_windows
    assert seen <= {30, 50, 90, 60, 100, 120} and len(seen) > 3
    one_bad = torch.where(torch.arange(40) < 10, 100.0, 1.0)[:, None]
    outcomes = set()
    for seed in range(20):
        result = OpenLoop(one_bad, one_bad, torch.ones(40, 1), torch.arange(4).repeat_interleave(10))
        found = uncertainty(result, seed)
        outcomes.add((found.factor.item(), found.coverage.item()))
    assert outcomes == {(50.0, 1.0), (0.5, 0.5)}


def test_conditional_miscoverage_shows():
    """Errors that do not depend on disagreement: bounds are too wide where it is high, too narrow where it is low."""
    result = open_loop()
    constant = torch.rand(result.model_error.shape, generator=torch.Generator().manual_seed(1)) + 0.5
    found = uncertainty(replace(result, model_error=constant), seed=0)
    assert found.coverage.tolist() == pytest.approx([0.9] * HORIZON, abs=0.03)
    assert found.coverage_high[0] > 0.97 and found.coverage_low[0] < 0.85
    torch.testing.assert_close((found.coverage_low + found.coverage_high) / 2, found.coverage)


def test_rank_correlation_by_horizon():
    """Without noise the error after h steps is h times the mean disagreement: the same order."""
    assert uncertainty(open_loop(noise=0.0), seed=0).correlation.tolist() == pytest.approx([1.0] * HORIZON)
    result = open_loop(noise=0.0)
    reversed_second = torch.cat([result.model_error[:, :1], -result.model_error[:, 1:]], 1)
    found = uncertainty(replace(result, model_error=reversed_second), seed=0)
    assert found.correlation.tolist() == pytest.approx([1, -1, -1, -1, -1])


def test_a_flat_ensemble_is_warned_of():
    result = open_loop()
    assert uncertainty(result, seed=0).warning is None
    unrelated = result.disagreement[
        torch.randperm(len(result.disagreement), generator=torch.Generator().manual_seed(2))
    ]
    warning = uncertainty(replace(result, disagreement=unrelated), seed=0).warning
    assert "does not tell large errors from small ones: its rank correlation with the error is" in warning
    assert "quantile" not in warning
    # It ranks, but 0.2 to 1.2 have been squeezed into 1.002 to 1.012.
    squeezed = uncertainty(replace(result, disagreement=1 + result.disagreement / 100), seed=0).warning
    assert "its 90 % quantile is only 1.01 times its 10 % quantile" in squeezed and "correlation" not in squeezed
    constant = uncertainty(replace(result, disagreement=torch.zeros_like(unrelated)), seed=0)
    assert "correlation with the error is 0.00" in constant.warning and "only 0.00 times" in constant.warning


def test_too_few_episodes():
    result = open_loop()
    three = OpenLoop(*(values[: 3 * WINDOWS] for values in vars(result).values()))
    with pytest.raises(InputError, match="found 3 held-out episodes that are long enough, expected 4"):
        uncertainty(three, seed=0)


def test_summary_is_plain():
    result = open_loop()
    error = result.model_error.clone()
    error[:, -1] = 1.0
    summary = uncertainty(replace(result, model_error=error), seed=0).summary()
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["horizon"] == [1, 2, 3, 4, 5] and summary["target"] == 0.9 and summary["warning"] is None
    assert summary["rank_correlation"][-1] is None and math.isfinite(summary["rank_correlation"][0])
    assert set(summary["coverage"]) == {"recalibrated", "one_step_factor", "low_disagreement", "high_disagreement"}
    assert all(len(values) == HORIZON for values in summary["coverage"].values())
    assert summary["windows"] == {"calibration": 1000, "test": 1000} and summary["episodes"] == 40
