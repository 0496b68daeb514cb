"""A made-up run for the report's tests; its numbers come from no policy."""

import numpy as np
import pytest
import torch
from burnish.report.inputs import ReportInputs

from burnish.evaluation.back_test import BackTest
from burnish.evaluation.gate import GateConfig, Recorded, decide
from burnish.evaluation.imagined_play import ImaginedPlay
from burnish.evaluation.intervals import paired_difference
from burnish.evaluation.off_policy import OffPolicyDifference
from burnish.report.summary import RunSummary, SuccessCount, build_report

# 100 pairs: 46 succeed both times, 49 improve, 2 get worse, 3 never succeed: 48 % before, 95 % after.
BEFORE = [True] * 46 + [False] * 49 + [True] * 2 + [False] * 3
AFTER = [True] * 46 + [True] * 49 + [False] * 2 + [False] * 3

CANNOT_JUDGE = {"accepted": False, "reasons": ["the data has 1 successful episodes, too few for 4 held-out worlds"]}
KNOWS = BackTest(both=61, only_real=6, only_imagined=9, neither=84)
RECORDED = Recorded(successes=71, episodes=150)
OPINION = OffPolicyDifference(torch.tensor([0.25, 0.125, 0.375]))
GUESSES = BackTest(both=30, only_real=37, only_imagined=28, neither=65)


def make_gate(before=(0.42, 0.5, 0.38, 0.46), after=(0.86, 0.91, 0.8, 0.88), tested=KNOWS, recorded=RECORDED):
    """The content of gate.json, decided by the gate itself: imagined success of both policies in each world."""

    def plays(rates, seed):
        found = []
        for number, rate in enumerate(rates):
            draws = np.random.default_rng(seed + number).permutation(128)
            halted = torch.from_numpy(draws % 16 == 0).float() * 1.5
            success = torch.from_numpy(draws < 128 * rate)
            found.append(ImaginedPlay(success, halted, torch.zeros(128), torch.full((128,), 0.3 + 0.1 * seed)))
        return found

    return decide(plays(before, 0), plays(after, 1), tested, GateConfig(), recorded, OPINION).to_dict()


def make_summary(**changes):
    values = {
        "recipe": "world4rl",
        "task": "drawer-open-v3",
        "seed": 0,
        "pretrained": SuccessCount(48, 100),
        "refined": SuccessCount(95, 100),
        "imagined_pretrained": 0.41,
        "imagined_refined": 0.93,
        "accepted": True,
        "collection_steps": 33001,
        "evaluation_steps": 21000,
        "imagined_steps": 800_000,
        "imagined_steps_per_second": 6600.0,
        "seconds": {
            "collect": 14.0,
            "world_model": 61.0,
            "ensemble": 20.0,
            "classifier": 5.0,
            "pretrain": 4.0,
            "refine": 120.0,
            "evaluate": 9.0,
        },
        "versions": {"burnish": "0.1.0", "torch": "2.13.0", "python": "3.11.7"},
        "device": "cpu",
        "paired": paired_difference(BEFORE, AFTER),
    }
    values |= changes
    if values.get("gate") is None:
        values["skipped"] = {"gate": "gate.worlds is 0", **values.get("skipped", {})}
    return RunSummary(**values)


def make_inputs(report=None, videos=None, **changes):
    generator = np.random.default_rng(0)
    rows = []
    for k in range(41):
        grown = 1 - np.exp(-k / 10)
        noise = generator.normal(size=4) * 0.015
        rows.append(
            {
                "iteration": k,
                "imagined_steps": 20_000 * k,
                "eval/success": 0.41 + 0.52 * grown + noise[0] if k % 2 == 0 else None,
                "eval/halted": 0.3 - 0.25 * grown + noise[1] if k % 2 == 0 else None,
                "train/success": 0.3 + 0.5 * grown + noise[2],
                "train/halted": 0.36 - 0.24 * grown + noise[3],
                "loss/value": 0.4 * np.exp(-k / 8) + 0.03 + abs(noise[0]),
                "loss/policy": -0.02 - 0.01 * grown + noise[1] * 0.3,
                "kl": 0.012 + noise[2] * 0.1,
                "kl_base": 0.9 * grown,
                "entropy": 1.4 - 0.5 * grown,
            }
        )
    steps = np.arange(0, 6000, 50)
    losses = {
        name: [
            {"step": int(s), "loss": float(a * np.exp(-s / b) + c + abs(generator.normal()) * c * 0.2)}
            | ({"validation/loss": float(a * np.exp(-s / b) + 1.3 * c)} if s % 500 == 0 else {})
            for s in steps
        ]
        for name, a, b, c in [
            ("World model", 1.0, 700, 0.04),
            ("Ensemble", 0.8, 400, 0.05),
            ("Success classifier", 0.6, 300, 0.02),
            ("Policy (behaviour cloning)", 0.3, 500, 0.03),
        ]
    }
    edges = np.linspace(0, 1, 11)
    counts = [3100, 120, 40, 22, 15, 12, 18, 25, 60, 900]
    bins = [
        {
            "low": edges[i],
            "high": edges[i + 1],
            "mean_probability": 0.1 * i + 0.05,
            "frequency": float(np.clip(0.1 * i + 0.05 + generator.normal() * 0.05, 0, 1)),
            "count": counts[i],
        }
        for i in range(10)
    ]
    thresholds = np.linspace(0.01, 0.99, 50)
    curve = [
        {"threshold": float(t), "precision": float(1 - 0.3 * (1 - t) ** 2), "recall": float(1 - t**4 * 0.4)}
        for t in thresholds
    ]
    horizon = list(range(1, 26))
    model, hold = 0.004 * np.sqrt(np.arange(1, 26)), 0.02 * np.sqrt(np.arange(1, 26))
    disagreement = np.exp(generator.normal(size=2000) - 4)
    pairs = np.stack([disagreement, disagreement * np.exp(0.6 * generator.normal(size=2000))], axis=1)
    values = {
        "report": report if report is not None else build_report(make_summary()),
        "configuration": "task: drawer-open-v3\nseed: 0\nppo:\n  clip: 0.2\n  anchor: 0.05\n",
        "data": [
            {"source": "expert", "episodes": 5, "successes": 5, "frames": 420},
            {"source": "policy", "episodes": 150, "successes": 71, "frames": 27000},
            {"source": "random", "episodes": 30, "successes": 0, "frames": 6015},
        ],
        "refinement": rows,
        "chosen_iteration": 36,
        "training": losses,
        "calibration": {
            "threshold": 0.82,
            "target_precision": 0.98,
            "precision": 0.984,
            "recall": 0.91,
            "positives": 960,
            "negatives": 3352,
            "bins": bins,
            "curve": curve,
        },
        "prediction": {
            "horizon": horizon,
            "model": {"median": list(model), "p10": list(0.5 * model), "p90": list(2 * model)},
            "hold_last": {"median": list(hold), "p10": list(0.3 * hold), "p90": list(1.8 * hold)},
            "unit": "normalised RMS",
        },
        "disagreement": {"threshold": 0.09, "pairs": pairs.tolist(), "spearman": None},
        "uncertainty": {
            "horizon": horizon,
            "target": 0.9,
            "rank_correlation": [0.6 / k**0.2 for k in horizon],
            "coverage": {
                "recalibrated": [0.91 - 0.001 * k for k in horizon],
                "one_step_factor": [0.91 / k**0.5 for k in horizon],
                "low_disagreement": [0.94] * 25,
                "high_disagreement": [0.84] * 25,
            },
            "episodes": 18,
            "windows": {"calibration": 940, "test": 1060},
            "warning": None,
        },
        "videos": videos,
    }
    return ReportInputs(**(values | changes))


@pytest.fixture(scope="session")
def summary():
    return make_summary


@pytest.fixture(scope="session")
def inputs():
    return make_inputs


@pytest.fixture(scope="session")
def gate():
    return make_gate


@pytest.fixture(scope="session")
def guessing():
    """The back-test of worlds that do not know the task."""
    return GUESSES


@pytest.fixture(scope="session")
def cannot_judge():
    return CANNOT_JUDGE
