"""The episodes of a run's evaluation: which policy won where, and any of them played again beside what was imagined."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from burnish.data import STATE, is_shown_key
from burnish.errors import InputError
from burnish.evaluation.prediction import imagine_along
from burnish.policies import load_agent
from burnish.report.outcomes import Outcomes, read_outcomes
from burnish.studio.opened import ASIDE, Beginning, OpenedRun
from burnish.studio.protocol import packed

PHOTOGRAPH = 160
"""Pixels of the simulator's own pictures."""


def outcomes_of(run: Path) -> Outcomes:
    """What the evaluation found.

    Raises:
        InputError: there was none (yet), or it is damaged.
    """
    found = read_outcomes(run / "evaluation")
    if (
        found is None
        or not found.seeds
        or any(len(each.success) != len(found.seeds) for each in found.policies.values())
    ):
        raise InputError("this run has no evaluation whose episodes can be played again")
    return found


def table_of(run: Path) -> dict[str, Any]:
    """Every start with every policy's outcome, for the page."""
    found = outcomes_of(run)
    return {
        "seeds": list(found.seeds),
        "decisions": found.decisions,
        "policies": {name: list(each.success) for name, each in found.policies.items()},
        "times": {name: list(each.decisions) for name, each in found.policies.items() if each.decisions},
    }


@torch.no_grad()
def played_again(run: OpenedRun, policy: str, seed: int, camera: bool) -> bytes:
    """One policy from one start in the simulator, and what the world model imagines of the same actions.

    The episode is the evaluation's: the same start, the deterministic policy, the run's time limit. (There episodes
    were played side by side, here alone: networks may then differ in the last bits.)

    Raises:
        InputError: no such policy or start, or no simulator here.
    """
    found = outcomes_of(run.folder)
    if policy not in found.policies or seed not in found.seeds:
        raise InputError(f"the evaluation has no policy '{policy}' with a start of seed {seed}")
    real, actions, success, photographs = _played(run, policy, seed, found.decisions or 10**6, camera)
    length = len(success)
    shown = {key: torch.from_numpy(np.stack([each[key] for each in real])) for key in real[0]}
    imagined = imagine_along(run.outer, shown, torch.stack([*actions, torch.zeros_like(actions[0])]), seed)
    frames: list[dict[str, Any]] = []
    pictures: list[np.ndarray] = []
    for step in range(length):
        seen = {key: values[step] for key, values in imagined.items() if key in shown}
        frame: dict[str, Any] = {"gap": run.gap(seen, real[step]), "success": success[step]}
        for where, observation in (("real", real[step]), ("imagined", seen)):
            keys = [key for key in observation if is_shown_key(key)] if run.shows_pictures else []
            frame[where] = {"pictures": list(range(len(pictures), len(pictures) + len(keys)))}
            pictures += [np.asarray(observation[key]) for key in keys]
            if STATE in observation:
                frame[where]["state"] = [round(float(value), 5) for value in observation[STATE]]
        if photographs:
            frame["real"]["camera"] = len(pictures)
            pictures.append(photographs[step])
        frames.append(frame)
    recorded = found.policies[policy].success[found.seeds.index(seed)]
    header = {"policy": policy, "seed": seed, "recorded": recorded, "frames": frames}
    return packed(header, pictures)


def _played(run: OpenedRun, policy: str, seed: int, limit: int, camera: bool) -> tuple[Any, Any, Any, Any]:
    """Observations, actions in [-1, 1], success and photographs of the frames."""
    if policy not in run.policies:
        raise InputError(f"this run has no policy '{policy}' any more")
    agent, reality = load_agent(run.policies[policy]), run.reality(ASIDE)
    agent.begin(1)
    observation = reality.start(Beginning(None, seed))
    real, actions, success, photographs = (
        [observation],
        [],
        [reality.success],
        [reality.photograph(PHOTOGRAPH)] if camera else [],
    )
    while not reality.success and reality.over is None and len(actions) < limit:
        chosen = agent.act({key: torch.from_numpy(values)[None] for key, values in observation.items()})[0]
        action = chosen if agent.scaling is None else agent.scaling.to_unit(chosen)
        observation = reality.step(action.numpy())
        if reality.over is not None and not reality.success:
            break
        actions.append(action.clamp(-1, 1))
        real.append(observation)
        success.append(reality.success)
        if camera:
            photographs.append(reality.photograph(PHOTOGRAPH))
    if len(actions) == 0:
        raise InputError("this start is a success already")
    return real, actions, success, photographs if all(each is not None for each in photographs) else []
