"""What test_multi_process_refine.py has done by two processes: python joined_refine.py FOLDER."""

import dataclasses
import sys
from pathlib import Path

import torch

from burnish.policies import GaussianPolicy, GaussianPolicyConfig
from burnish.rl import PPO, Dreamer, DreamerConfig, EnvExperience, PPOConfig, RefineConfig, Rollout, refine
from burnish.storage import save_state
from burnish.training import ALONE, Processes, current, join
from tests.imagination.counter_world import make_env, start_states
from tests.rl.test_refine import PPO_CONFIG, judge

ENVS, STEPS = 16, 6
UPDATE = PPOConfig(epochs=6, minibatch_size=ENVS * STEPS, policy_learning_rate=1e-2, anchor_weight=0.05, target_kl=None)


class Resolute(GaussianPolicy):
    """Always takes its mean, so that the anchor's actions are the same whoever asks for them."""

    def act(self, features, deterministic=False, generator=None):
        return super().act(features, True, generator)


def make_policy(kind=GaussianPolicy):
    torch.manual_seed(0)
    return kind(1, 1, GaussianPolicyConfig(hidden=(16,), min_std=0.2, max_std=0.6))


def whole_rollout():
    """The same on every process."""
    env = make_env(num_envs=ENVS, horizon=8, noise=0.05, starts=start_states([0.0, 0.3, 0.6], share=0.5))
    return EnvExperience(env, 0).rollout(make_policy(), STEPS, torch.Generator().manual_seed(0))


def part_of(rollout, processes):
    """The process's share of the environments."""
    share = ENVS // processes.count
    mine = slice(processes.rank * share, (processes.rank + 1) * share)
    named = {f.name: getattr(rollout, f.name) for f in dataclasses.fields(Rollout)}
    return Rollout(**{name: rows if rows is None else rows[:, mine] for name, rows in named.items()})


def updated(processes: Processes, config=UPDATE, rollout=None):
    """Weights, last gradients, metrics and gradient steps of one PPO iteration."""
    torch.manual_seed(1)
    ppo = PPO(make_policy(Resolute), 1, config, processes)
    rollout = part_of(whole_rollout(), processes) if rollout is None else rollout
    metrics = ppo.learn(rollout, torch.Generator().manual_seed(processes.rank))
    steps = ppo.policy_optimizer.state[next(ppo.policy.parameters())]["step"]
    modules = {"policy": ppo.policy, "critic": ppo.critic}
    return {
        "weights": {name: dict(module.state_dict()) for name, module in modules.items()},
        "gradients": {name: [p.grad for p in module.parameters()] for name, module in modules.items()},
        "metrics": metrics,
        "steps": int(steps),
    }


def dreamed(processes: Processes, rollout):
    """Weights, range and metrics of two of Dreamer's updates."""
    torch.manual_seed(1)
    dreamer = Dreamer(make_policy(), 1, DreamerConfig(policy_learning_rate=1e-2), processes)
    for _ in range(2):
        dreamer.updates += 1
        metrics = dreamer.learn(rollout, torch.Generator().manual_seed(processes.rank))
    modules = {name: dict(getattr(dreamer, name).state_dict()) for name in ("policy", "critic", "slow")}
    return {"weights": modules, "range": dreamer.range, "metrics": metrics}


def halves_and_whole(processes):
    """One PPO iteration of each process on its half, and of this one alone on the whole and on its half."""
    whole, half = whole_rollout(), part_of(whole_rollout(), processes)
    found = {"shared": updated(processes), "alone": updated(ALONE, rollout=whole)}
    # A KL limit that the mean over all rows passes at another epoch than one half's own does.
    slowly = dataclasses.replace(UPDATE, policy_learning_rate=3e-3)
    limits = [0.0005 * 1.6**i for i in range(12)]
    for name, group, rollout in (("shared", processes, half), ("alone", ALONE, whole), ("half", ALONE, half)):
        stops = [updated(group, dataclasses.replace(slowly, target_kl=limit), rollout)["steps"] for limit in limits]
        found[f"stops_{name}"] = torch.tensor(stops)
    return found


class Stop(Exception):
    pass


def refined(folder, iterations=6, stop=None):
    """A refinement, whole or stopped after an iteration; every process stops, as if all had been killed."""
    processes = current()
    env = make_env(
        num_envs=processes.share(32, "num_envs"), horizon=8, noise=0.05, starts=start_states([0.0, 0.3, 0.6], share=0.5)
    )
    policy, judged = make_policy(), []

    def evaluate(averaged):
        judged.append(1)
        return judge(averaged)

    # The checkpoint of the iteration `stop` is the last one.
    last = iterations if stop is None else stop
    config = RefineConfig(last, evaluate_every=2, margin=-1, checkpoint_seconds=0.0)
    torch.manual_seed(3)
    learner = PPO(policy, 1, dataclasses.replace(PPO_CONFIG, rollout_steps=8, critic_warmup=1), processes)
    experience = EnvExperience(env, processes.seed(3))
    result = refine(learner, experience, evaluate, config, folder, 3)
    return {"weights": dict(policy.state_dict()), "result": result, "judged": len(judged), "env": env.state_dict()}


def main(folder):
    torch.set_num_threads(1)
    processes = join(2)
    torch.set_num_threads(1)
    own = folder / f"folder{processes.rank}"
    found = {"ppo": halves_and_whole(processes), "refined": refined(own / "whole")}
    half = part_of(whole_rollout(), processes)
    found["dreamer"] = {"shared": dreamed(processes, half), "alone": dreamed(ALONE, whole_rollout())}
    refined(own / "cut", stop=4)
    refined(own / "fewer", stop=4)
    found["resumed"] = refined(own / "cut")
    found["more"] = refined(folder / "more" if processes.first else own / "more")
    save_state(folder / f"{processes.rank}.safetensors", found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
