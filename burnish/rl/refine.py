"""Refinement: a learner's iterations, the best iterate chosen by a score, resumable at any moment."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor

from burnish.config import within
from burnish.errors import InputError
from burnish.policies import Policy
from burnish.rl.learner import Experience, Judgement, Learner, Score
from burnish.rl.preflight import check_signal, preflight
from burnish.rl.watched import Watched, gathered, share_of
from burnish.storage import save_state, save_tensors
from burnish.training.metrics import MetricsLog
from burnish.training.processes import current
from burnish.training.resume import RESUME_FILE, taking_up


@dataclass(frozen=True)
class RefineConfig:
    """Length of refinement and how often it is judged."""

    iterations: int = within(60, 1)
    imagined_episodes: int = within(160, 1)
    """Imagined episodes that score an iterate."""
    evaluate_every: int = within(10, 1)
    margin: float = within(0.0)
    """A later iterate is better only if its score is higher by more than this times the score's scale (success rates
    have the scale 1, mean returns their standard error): near the ceiling what grows is the exploitation of the models,
    not real success."""
    average: float = within(0.0, 0, 1, open_high=True)
    """Each iteration keeps this share of a running average of the policy's weights and adds 1 - average of the new
    ones; the average is what is judged and kept. 0: every iterate as it is. Single iterates jump about, each with flaws
    of its own; their average keeps what they have in common."""
    patience: int | None = within(None, 1)
    """Stop after this many evaluations without a better one."""
    checkpoint_seconds: float = within(10.0, 0)
    max_distance_growth: float | None = within(None, 0, open_low=True)
    """Stop where the judged policy's mean distance to the data (where none is measured: the ensemble's disagreement)
    is more than this many times the pretrained policy's, and do not choose that iterate. Imagined episodes halt at the
    threshold, so the mean hardly passes it, and useful factors are not far above 1."""
    preflight: bool = True
    """Make sure, before the policy is changed, that there is something to learn from; else stop and say what is
    missing."""


class Refinement(TypedDict):
    """What came of a refinement."""

    iteration: float
    """Of the chosen iterate; 0 is the pretrained policy."""
    score_pretrained: float
    score_refined: float
    imagined_steps: float
    stopped: str
    """Why there was no further iteration."""


_OVER = "iterations were over"
OnIteration = Callable[[int, dict[str, float]], None]


def refine(
    learner: Learner,
    experience: Experience,
    score: Score,
    config: RefineConfig,
    folder: Path,
    seed: int,
    on_iteration: OnIteration | None = None,
) -> Refinement:
    """Let the learner refine its policy in place, and leave the policy at its best iterate.

    Best means the highest score; among those within the margin the earliest, which has moved least. A simulator has no
    part in it. `folder` receives metrics.jsonl, `iterates/NNNN.safetensors` of each judged policy, and the resume
    state, with which the same call goes on to the same bits. An iterate that is still the pretrained policy (while a
    critic warms up, say) is not judged again, but for the last.

    Where this process has joined others (`processes.join`), all of them call this together, each with its own share of
    the experience. Each explores with random numbers of its own, the learner learns from all of it, and only the first
    process judges, writes into `folder` and calls `on_iteration`.

    Returns:
        The choice, the scores before and after, the number of imagined steps, and why it stopped.

    Raises:
        RunError: the pre-flight check found nothing that could be learned from.
        InputError: the distance to the data is limited and nothing measures it.
        DamagedResume: the resume state cannot be taken up (a RunError).
    """
    run = _Run(learner, experience, config, folder, seed)
    with taking_up(run.path, run.processes):
        start = run.restore()
    if start == 0 and config.preflight:
        preflight(learner, experience, seed, run.processes)
    log = MetricsLog(folder, silent=not run.processes.first)
    log.rewind(start - 1)
    saved_at = time.monotonic()
    for iteration in range(start, config.iterations + 1):
        row = run.learn(iteration)
        if run.is_due(iteration):
            row |= run.judge(iteration, score)
        log.write(iteration, row)
        if on_iteration and run.processes.first:
            on_iteration(iteration, row)
        if run.stopped != _OVER:
            break
        if run.processes.agree(time.monotonic() - saved_at > config.checkpoint_seconds):
            run.save(iteration + 1)
            saved_at = time.monotonic()
    log.close()
    return run.finish()


@dataclass
class _Best:
    score: float = -math.inf
    iteration: int = 0
    since: int = 0


class _Run:
    """Everything that changes in the course of a refinement."""

    def __init__(self, learner: Learner, experience: Experience, config: RefineConfig, folder: Path, seed: int) -> None:
        self.processes = current()
        self.learner, self.config, self.folder, self.seed = learner, config, folder, seed
        self.watched = Watched(experience)
        self.path = folder / RESUME_FILE
        self.generator = torch.Generator(device=experience.device).manual_seed(self.processes.seed(seed))
        self.averaged = copy.deepcopy(learner.policy)
        self.pretrained = _copy(learner.policy)
        self.best, self.best_weights = _Best(), self.pretrained
        self.first: dict[str, Any] = {}
        self.moved, self.stopped = False, _OVER

    @property
    def imagined_steps(self) -> float:
        return float(self.processes.count * self.watched.imagined_steps)

    def learn(self, iteration: int) -> dict[str, float]:
        """One iteration of the learner; the pretrained policy's, 0, is none."""
        if iteration == 0:
            return {"iteration": 0.0, "imagined_steps": self.imagined_steps}
        metrics = self.learner.update(self.watched, self.generator)
        _average(self.averaged, self.learner.policy, self.config.average)
        row = {"iteration": float(iteration), "imagined_steps": self.imagined_steps}
        row |= metrics | self.watched.rates(self.processes)
        if not self.moved:
            state = self.learner.policy.state_dict()
            self.moved = any(not torch.equal(tensor, state[name]) for name, tensor in self.pretrained.items())
        if self.moved and self.config.preflight:
            check_signal(self.watched.signal, self.first["score"])
        return row

    def is_due(self, iteration: int) -> bool:
        """Whether the averaged policy is to be judged."""
        every = iteration % self.config.evaluate_every == 0 and (iteration == 0 or self.moved)
        return every or iteration == self.config.iterations

    def judge(self, iteration: int, score: Score) -> dict[str, float]:
        """The judgement's part of a row; decides on the best iterate, and whether this is enough."""
        # What the first process finds, so that all choose the same iterate.
        found = Judgement(**self.processes.message(vars(score(self.averaged)) if self.processes.first else None))
        if iteration == 0:
            self.first = {"score": found.score, "metrics": found.metrics}
        left = _left_the_data(found, self.first["metrics"], self.config.max_distance_growth, iteration)
        if found.score > self.best.score + self.config.margin * found.scale + 1e-9 and not left:
            self.best, self.best_weights = _Best(found.score, iteration), _copy(self.averaged)
        else:
            self.best.since += 1
        if left:
            self.stopped = left
        elif self.config.patience is not None and self.best.since >= self.config.patience:
            self.stopped = f"no better iterate for {self.best.since} judgements"
        if self.processes.first:
            save_tensors(self.folder / "iterates" / f"{iteration:04d}.safetensors", _copy(self.averaged), {})
        return {"eval/score": found.score} | {f"eval/{name}": value for name, value in found.metrics.items()}

    def finish(self) -> Refinement:
        """Leave the policy at its best iterate."""
        self.learner.policy.load_state_dict(self.best_weights)
        return {
            "iteration": float(self.best.iteration),
            "score_pretrained": self.first["score"],
            "score_refined": self.best.score,
            "imagined_steps": self.imagined_steps,
            "stopped": self.stopped,
        }

    def save(self, iteration: int) -> None:
        """Write what a refinement that goes on at `iteration` needs."""
        own = {"experience": self.watched.state_dict(), "generator": self.generator.get_state()}
        state = {
            "iteration": iteration,
            "learner": self.learner.state_dict(),
            "averaged": self.averaged.state_dict(),
            "best": vars(self.best),
            "best_weights": self.best_weights,
            "first": self.first,
            "signal": vars(self.watched.signal),
            "explored": gathered(own, self.processes),
        }
        if self.processes.first:
            save_state(self.path, state)

    def restore(self) -> int:
        """Take up what was saved; returns the iteration to go on at. The number of processes may be another one now."""
        saved = self.processes.load_state(self.path)
        if saved is None:
            return 0
        self.learner.load_state_dict(saved["learner"])
        self.averaged.load_state_dict(saved["averaged"])
        self.best, self.best_weights, self.first = _Best(**saved["best"]), saved["best_weights"], saved["first"]
        vars(self.watched.signal).update(saved["signal"])
        start = int(saved["iteration"])
        fresh = self.processes.seed(self.seed) + start
        own = share_of(saved["explored"], self.watched.num_envs, self.processes, fresh, self.watched.device)
        self.generator.set_state(own["generator"])
        self.watched.load_state_dict(own["experience"])
        return start


def _left_the_data(found: Judgement, pretrained: dict[str, float], limit: float | None, iteration: int) -> str | None:
    """Why the judged policy is too far from the data; None where it is not, or where there is no limit."""
    if limit is None:
        return None
    name = next((name for name in ("distance", "disagreement") if name in found.metrics), None)
    if name is None:
        raise InputError(
            f"refine.max_distance_growth is {limit}, but this imagination has neither a distance to the data nor an "
            "ensemble"
        )
    now, before = found.metrics[name], pretrained[name]
    # Written so that a NaN has left, too.
    if iteration == 0 or now <= limit * before:
        return None
    return (
        f"left the data: at iteration {iteration} the mean {name} is {now:.3g} of its threshold, more than {limit:g} "
        f"times the pretrained policy's {before:.3g}"
    )


@torch.no_grad()
def _average(averaged: Policy, policy: Policy, keep: float) -> None:
    for old, new in zip(averaged.parameters(), policy.parameters(), strict=True):
        old.lerp_(new, 1 - keep)


def _copy(policy: Policy) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in policy.state_dict().items()}
