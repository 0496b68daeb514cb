"""Refinement: PPO in the imagined environment, the best iterate chosen there too, resumable at any moment."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import torch

from burnish.config import within
from burnish.errors import InputError
from burnish.imagination import ImaginedEnv, ImaginedSuccess
from burnish.policies import Policy
from burnish.rl.ppo import PPO, PPOConfig
from burnish.rl.rollout import Rollout, collect_rollout
from burnish.storage import save_state, save_tensors
from burnish.training.metrics import MetricsLog
from burnish.training.processes import Processes, current


@dataclass(frozen=True)
class RefineConfig:
    """Length of refinement and how often it is judged."""

    iterations: int = within(60, 1)
    rollout_steps: int = within(16, 1)
    critic_warmup: int = within(10, 0)
    """Iterations at the beginning in which only the critic learns; a critic that knows nothing yet would lead the
    policy away from what it can do."""
    evaluate_every: int = within(10, 1)
    margin: float = within(0.0, -1, 1)
    """A later iterate is better only if its imagined success is higher by more than this: near the ceiling what grows
    is the exploitation of the models, not real success."""
    average: float = within(0.0, 0, 1, open_high=True)
    """Each iteration keeps this share of a running average of the policy's weights and adds 1 - average of the new
    ones; the average is what is judged and kept.  0: every iterate as it is.  PPO's single iterates jump about, each
    with flaws of its own; their average keeps what they have in common."""
    patience: int | None = within(None, 1)
    """Stop after this many evaluations without a better one."""
    checkpoint_seconds: float = within(10.0, 0)
    max_distance_growth: float | None = within(None, 0, open_low=True)
    """Stop where the judged policy's mean distance to the data (where none is measured: the ensemble's disagreement)
    is more than this many times the pretrained policy's, and do not choose that iterate.  Imagined episodes halt at
    the threshold, so the mean hardly passes it, and useful factors are not far above 1."""


class Refinement(TypedDict):
    """What `refine` tells."""

    iteration: float
    """Of the chosen iterate; 0 is the pretrained policy."""
    imagined_success_pretrained: float
    imagined_success_refined: float
    imagined_steps: float
    stopped: str
    """Why there was no further iteration."""


_OVER = "iterations were over"
# A judgement's numbers, and what stands for one that there is none of: processes exchange numbers only.
_JUDGED = ("eval/success", "eval/halted", "eval/disagreement", "eval/distance")
_ABSENT = -math.inf

Evaluate = Callable[[Policy], ImaginedSuccess]
OnIteration = Callable[[int, dict[str, float]], None]


@dataclass
class _Best:
    rate: float = -1.0
    iteration: int = 0
    since: int = 0


def refine(
    policy: Policy,
    env: ImaginedEnv,
    config: RefineConfig,
    ppo_config: PPOConfig,
    evaluate: Evaluate,
    folder: Path,
    seed: int,
    on_iteration: OnIteration | None = None,
) -> Refinement:
    """Refine `policy` in place and leave it at its best iterate.

    Best means the highest pessimistic imagined success by `evaluate` (a deterministic judgement from fixed starts);
    among those within `margin` the earliest, which has moved least.  The simulator has no part in it.  `folder`
    receives metrics.jsonl, `iterates/NNNN.safetensors` of each judged policy, and the resume state.  Returns the
    choice, the imagined success before and after, the number of imagined steps, and why it stopped.  InputError where
    the distance to the data is limited and nothing measures it.

    Where this process has joined others (`processes.join`), all of them call this together, each with an environment of
    its own share of the imagined episodes.  Each imagines with random numbers of its own, PPO learns from all of it,
    and only the first process judges, writes into `folder` and calls `on_iteration`.
    """
    processes = current()
    # The same on every process: the critic begins with the same weights.
    torch.manual_seed(seed)
    ppo = PPO(policy, env.feature_dim, ppo_config, processes)
    generator = torch.Generator(device=env.device).manual_seed(processes.seed(seed))
    log = MetricsLog(folder, silent=not processes.first)
    path = folder / "resume.safetensors"
    features, _ = env.reset(seed=processes.seed(seed))
    averaged = copy.deepcopy(policy)
    best, best_weights, start = _Best(), _copy(policy), 0
    pretrained: dict[str, float] = {}
    stopped = _OVER
    saved = processes.load_state(path)
    if saved is not None:
        ppo.load_state_dict(saved["ppo"])
        averaged.load_state_dict(saved["averaged"])
        best_weights = saved["best_weights"]
        best, start = _Best(**saved["best"]), saved["iteration"]
        # What an earlier version left holds the rate alone; the rest is only asked for by settings that it had not.
        pretrained = saved.get("pretrained") or {"eval/success": saved["pretrained_rate"]}
        features = _take_up(saved, env, generator, processes, seed)
    log.rewind(start - 1)

    saved_at = time.monotonic()
    for iteration in range(start, config.iterations + 1):
        row = {"iteration": float(iteration), "imagined_steps": float(processes.count * env.imagined_steps)}
        if iteration > 0:
            rollout, features = collect_rollout(env, policy, features, config.rollout_steps, generator)
            row["imagined_steps"] = float(processes.count * env.imagined_steps)
            metrics = ppo.update(rollout, generator, policy_too=iteration > config.critic_warmup)
            row |= metrics | _rates(rollout, processes)
            _average(averaged, policy, config.average)
        judged = iteration % config.evaluate_every == 0 and (iteration == 0 or iteration > config.critic_warmup)
        if judged or iteration == config.iterations:
            verdict = _judge(evaluate, averaged, processes)
            row |= verdict
            if iteration == 0:
                pretrained = verdict
            left = _left_the_data(verdict, pretrained, config.max_distance_growth, iteration)
            if verdict["eval/success"] > best.rate + config.margin + 1e-9 and not left:
                best, best_weights = _Best(verdict["eval/success"], iteration, 0), _copy(averaged)
            else:
                best.since += 1
            if left:
                stopped = left
            elif config.patience is not None and best.since >= config.patience:
                stopped = f"no better iterate for {best.since} judgements"
            if processes.first:
                save_tensors(folder / "iterates" / f"{iteration:04d}.safetensors", _copy(averaged), {})
        log.write(iteration, row)
        if on_iteration and processes.first:
            on_iteration(iteration, row)
        if stopped != _OVER:
            break
        if processes.agree(time.monotonic() - saved_at > config.checkpoint_seconds):
            state = {
                "iteration": iteration + 1,
                "ppo": ppo.state_dict(),
                "averaged": averaged.state_dict(),
                "best": vars(best),
                "best_weights": best_weights,
                "pretrained": pretrained,
                **_experience(env, generator, features, processes),
            }
            if processes.first:
                save_state(path, state)
            saved_at = time.monotonic()
    log.close()
    policy.load_state_dict(best_weights)
    return {
        "iteration": float(best.iteration),
        "imagined_success_pretrained": pretrained["eval/success"],
        "imagined_success_refined": best.rate,
        "imagined_steps": float(processes.count * env.imagined_steps),
        "stopped": stopped,
    }


def _judge(evaluate: Evaluate, policy: Policy, processes: Processes) -> dict[str, float]:
    """The judgement's part of a row: what the first process finds, so that all choose the same iterate."""
    found = torch.full((len(_JUDGED),), _ABSENT, dtype=torch.float64)
    if processes.first:
        verdict = evaluate(policy)
        numbers = verdict.rate, verdict.halted_rate, verdict.disagreement, verdict.distance
        found = torch.tensor([_ABSENT if n is None else n for n in numbers], dtype=torch.float64)
    named = zip(_JUDGED, processes.of_first(found).tolist(), strict=True)
    return {name: number for name, number in named if number != _ABSENT}


def _left_the_data(
    verdict: dict[str, float], pretrained: dict[str, float], limit: float | None, iteration: int
) -> str | None:
    """Why the judged policy is too far from the data; None where it is not, or where there is no limit."""
    if limit is None:
        return None
    name = next((name for name in ("distance", "disagreement") if f"eval/{name}" in verdict), None)
    if name is None:
        raise InputError(
            f"refine.max_distance_growth is {limit}, but this imagination has neither a distance to the data nor an "
            "ensemble"
        )
    now, before = verdict[f"eval/{name}"], pretrained[f"eval/{name}"]
    # Written so that a NaN has left, too.
    if iteration == 0 or now <= limit * before:
        return None
    return (
        f"left the data: at iteration {iteration} the mean {name} is {now:.3g} of its threshold, more than {limit:g} "
        f"times the pretrained policy's {before:.3g}"
    )


def _experience(
    env: ImaginedEnv, generator: torch.Generator, features: torch.Tensor, processes: Processes
) -> dict[str, Any]:
    """Where all processes' imagined episodes are, and the states of their random generators, one in a row."""
    state = env.state_dict()
    state["imagined_steps"] *= processes.count
    state["generator"] = state["generator"][None]
    return processes.gather_all({"env": state, "generator": generator.get_state()[None], "features": features})


def _take_up(
    saved: dict[str, Any], env: ImaginedEnv, generator: torch.Generator, processes: Processes, seed: int
) -> torch.Tensor:
    """Go on with this process's share of the saved episodes, and return their features."""
    everyone, rank = dict(saved["env"]), processes.rank
    of_env, of_policy = torch.atleast_2d(everyone.pop("generator")), torch.atleast_2d(saved["generator"])
    state, features = processes.rows((everyone, saved["features"]), len(saved["features"]))
    state["imagined_steps"] //= processes.count
    if rank < len(of_env):
        # Cloned: a generator reads a view's memory from its beginning.
        generator.set_state(of_policy[rank].clone())
        state["generator"] = of_env[rank].clone()
    else:
        # A process that was not there before: what it draws now, none has drawn yet.
        generator.manual_seed(processes.seed(seed) + saved["iteration"])
        state["generator"] = generator.get_state()
    env.load_state_dict(state)
    return features.to(env.device)


@torch.no_grad()
def _average(averaged: Policy, policy: Policy, keep: float) -> None:
    for old, new in zip(averaged.parameters(), policy.parameters(), strict=True):
        old.lerp_(new, 1 - keep)


def _copy(policy: Policy) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in policy.state_dict().items()}


def _rates(rollout: Rollout, processes: Processes) -> dict[str, float]:
    """Share of the episodes that ended in this rollout in success, and by halting."""
    done = rollout.terminated | rollout.truncated
    ended, success, halted = processes.gather(
        torch.stack([done.sum(), rollout.success.sum(), rollout.halted.sum()])[None]
    ).sum(0)
    return {
        "train/success": float(success / ended.clamp(min=1)),
        "train/halted": float(halted / ended.clamp(min=1)),
        "train/episodes": float(ended),
    }
