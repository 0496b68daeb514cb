"""A made-up run for the report's tests; its numbers come from no policy."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from burnish.evaluation.agreement import BackTest
from burnish.evaluation.gate import GateConfig, Recorded, decide
from burnish.imagination import ImaginedEvaluation
from burnish.report.facts import Finished, facts
from burnish.report.outcomes import Outcomes, Played
from burnish.report.sections_gate import gate_summary
from burnish.report.summary import build_report

# 100 pairs: 46 succeed both times, 49 improve, 2 get worse, 3 never succeed: 48 % before, 95 % after.
BEFORE = (True,) * 46 + (False,) * 49 + (True,) * 2 + (False,) * 3
AFTER = (True,) * 46 + (True,) * 49 + (False,) * 2 + (False,) * 3
PLAYED = Outcomes({"pretrained": Played(BEFORE), "refined": Played(AFTER)}, decisions=100, action_repeat=2)
VERSIONS = {"burnish": "0.1.0", "torch": "2.13.0", "python": "3.11.7"}
RUN = {"recipe": "world4rl", "task": "drawer-open-v3", "seed": 0}
IMAGINED = {"success": {"pretrained": 0.41, "refined": 0.93}}

CANNOT_DECIDE = {"accepted": False, "reasons": ["the data has 1 successful episodes, too few for 4 held-out worlds"]}
KNOWS = BackTest(both=61, only_real=6, only_imagined=9, neither=84)
GUESSES = BackTest(both=30, only_real=37, only_imagined=28, neither=65)
RECORDED = Recorded(successes=71, episodes=150)


def make_gate(before=(0.42, 0.5, 0.38, 0.46), after=(0.86, 0.91, 0.8, 0.88), tested=KNOWS, recorded=RECORDED):
    """The content of gate.json, decided by the gate itself: imagined success of both policies in each world."""

    def plays(rates, seed):
        found = []
        for number, rate in enumerate(rates):
            draws = np.random.default_rng(seed + number).permutation(128)
            halted, success = torch.from_numpy(draws % 16 == 0), torch.from_numpy(draws < 128 * rate)
            distance = {"distance": torch.full((128,), 0.3 + 0.1 * seed)}
            outcome = (success & ~halted).float()
            found.append(ImaginedEvaluation(outcome, success, success.float(), halted, distance))
        return found

    return decide(plays(before, 0), plays(after, 1), tested, GateConfig(), recorded).to_dict()


def make_stages(folder, gate=None, **refinement):
    """Finished stages with what they record; `refinement` changes the refinement's outputs."""
    refined = {"role": "refinement", "simulator_steps": 0, "iteration": 36.0, "imagined_steps": 800_000.0}
    refined |= {"imagined": IMAGINED} | refinement
    stages = [
        Finished("shown", folder / "shown", 14.0, {"role": "collection", "simulator_steps": 33_001}),
        Finished("dreams", folder / "dreams", 61.0, {}),
        Finished("polished", folder / "polished", 120.0, refined),
        Finished("proof", folder / "proof", 9.0, {"role": "evaluation", "simulator_steps": 21_000}),
    ]
    if gate is not None:
        stages.append(Finished("court", folder / "court", 20.0, {"role": "gate", "gate": gate_summary(gate)}))
    return stages


def make_report(outcomes=PLAYED, gate=None, skipped=None, run=RUN, extra=None, **refinement):
    """The content of report.json."""
    reasons = {} if gate is not None else {"gate": "gate.worlds is 0"}
    found = replace(facts(make_stages(Path("run"), gate, **refinement)), skipped=reasons | (skipped or {}))
    return build_report(run, found, outcomes, VERSIONS, extra)


@pytest.fixture(scope="session")
def report():
    return make_report


@pytest.fixture(scope="session")
def stages():
    return make_stages


@pytest.fixture(scope="session")
def gate():
    return make_gate
