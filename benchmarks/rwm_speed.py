"""Seconds of one core for the same network: RWM's ensemble here and in `robotic_world_model_lite`, in one run.

    git clone https://github.com/leggedrobotics/rsl_rl_rwm
    python benchmarks/rwm_speed.py --peer rsl_rl_rwm

`robotic_world_model_lite` (6351d01) trains and imagines with the ensemble of `rsl_rl_rwm` (18eebcd), which is read from
its folder. Both have ANYmal's sizes: 45 state dimensions, 12 actions, 8 contacts and a termination, two trunks of two
GRU layers of 256, five members with heads of 128, 32 steps of history, 8 of forecast. One training step is loss,
gradients, clipping and Adam on as many windows; one imagined step is every environment's own member, the spread, the
contacts and the termination, without rewards. The rounds of both alternate; times are those of the process, so that a
busy machine does not count.
"""

import argparse
import importlib
import json
import platform
import statistics
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from burnish.data import STATE, WindowBatch
from burnish.world_models import GRUEnsemble, GRUEnsembleConfig
from burnish.world_models.forecasts import ForecastBatch

STATES, ACTIONS, CONTACTS, MEMBERS, HISTORY, FORECAST = 45, 12, 8, 5, 32, 8
KEY = "observation.contacts"
LAYOUT = {
    "type": "rnn",
    "rnn_type": "gru",
    "rnn_num_layers": 2,
    "rnn_hidden_size": 256,
    **{f"{name}_shape": [128] for name in ("state_mean", "state_logstd", "extension", "contact", "termination")},
}


def peer_ensemble(folder: Path) -> Any:
    """The peer's class, without what its package imports besides."""
    for name in ("rsl_rl", "rsl_rl.modules"):
        package = types.ModuleType(name)
        package.__path__ = [str(folder / name.replace(".", "/"))]
        sys.modules[name] = package
    made = importlib.import_module("rsl_rl.modules.system_dynamics").SystemDynamicsEnsemble
    sizes = (STATES, ACTIONS, 0, CONTACTS, 1, "cpu")
    return made(*sizes, ensemble_size=MEMBERS, history_horizon=HISTORY, architecture_config=LAYOUT)


def windows(rows: int) -> dict[str, torch.Tensor]:
    """Random numbers in the shapes of recorded windows."""
    length = HISTORY + FORECAST
    contacts, ended = ((torch.rand(rows, length, size) > 0.9).float() for size in (CONTACTS, 1))
    return {
        "state": torch.randn(rows, length, STATES),
        "action": torch.randn(rows, length, ACTIONS),
        "contacts": contacts,
        "ended": ended,
    }


def training_step(model: nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], None]:
    """One update."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def training(ours: GRUEnsemble, peer: Any, rows: int) -> dict[str, Callable[[], None]]:
    """An update of each on the same windows."""
    made = windows(rows)
    batch = ForecastBatch(
        WindowBatch(
            {STATE: made["state"], KEY: made["contacts"]},
            made["action"],
            valid=torch.ones(made["ended"].shape[:2], dtype=torch.bool),
            success=torch.zeros(made["ended"].shape[:2], dtype=torch.bool),
            terminated=made["ended"][..., 0].bool(),
        ),
        torch.randint(0, 3, (rows, MEMBERS)).float(),
    )

    def peer_loss() -> torch.Tensor:
        peer.reset()
        columns = (made["state"], made["action"], None, made["contacts"], made["ended"])
        state, _, bound, _, _, contact, termination = peer.compute_loss(*columns, bootstrap=True)
        return state + bound + contact + termination

    return {
        "burnish": training_step(ours, lambda: ours.loss(batch)[0]),
        "peer": training_step(peer, peer_loss),
    }


def imagination(ours: GRUEnsemble, peer: Any, envs: int) -> dict[str, Callable[[], None]]:
    """Eight imagined steps of each."""
    members = torch.randint(0, MEMBERS, (envs,))
    action, frame = torch.randn(envs, ACTIONS), torch.randn(envs, STATES)
    ours.eval()
    peer.eval()
    peer.reset()

    @torch.inference_mode()
    def own() -> None:
        state = ours.initial(envs)
        for _ in range(FORECAST):
            _, state = ours.predict_member(state, action, members)
            ours.ended(state)

    @torch.inference_mode()
    def others() -> None:
        peer.reset()
        state = frame
        for _ in range(FORECAST):
            state = peer(state[:, None], action[:, None], members.view(1, -1, 1))[0]

    return {"burnish": own, "peer": others}


def seconds(work: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Of each, round by round in turns, after one that does not count."""
    found: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, step in work.items():
            begun = time.process_time()
            step()
            if number:
                found[name].append(time.process_time() - begun)
    return found


def main() -> None:
    """Measure both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, required=True, help="folder of rsl_rl_rwm")
    parser.add_argument("--rows", type=int, default=256, help="windows of a training step")
    parser.add_argument("--envs", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = GRUEnsembleConfig(MEMBERS, HISTORY, FORECAST, hidden=256, layers=2, head=(128,), privileged=KEY)
    ours, peer = GRUEnsemble(STATES, ACTIONS, config, CONTACTS), peer_ensemble(args.peer)
    weights = {name: sum(p.numel() for p in each.parameters()) for name, each in (("burnish", ours), ("peer", peer))}
    print(json.dumps({"machine": platform.machine(), "torch": torch.__version__, "weights": weights}))
    for name, work, count in (
        ("training", training(ours, peer, args.rows), args.rows),
        ("imagination", imagination(ours, peer, args.envs), args.envs * FORECAST),
    ):
        found = seconds(work, args.rounds)
        ratios = [b / a for a, b in zip(found["burnish"], found["peer"], strict=True)]
        row = {key: count / statistics.median(values) for key, values in found.items()}
        row |= {"ratio": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
        print(json.dumps({"what": name, "per_second": {k: round(v, 2) for k, v in row.items()}}), flush=True)


if __name__ == "__main__":
    main()
