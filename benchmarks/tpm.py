"""Masks of the named things against colours alone, on a table top whose things were never seen in training.

    python -m benchmarks.tpm --out runs/tpm --seeds 0 1

Records demonstrations with the script (three things, `SEEN`), once with masks, once with the sentence's words in their
place, once with neither: the same episodes, the same network, the same number of weights. The recipe's own stage clones
the two-stream policy of each; then it plays fresh starts with things of training and with others (`UNSEEN`), without
and with distractors. With the masked policy: other providers, wrong masks, the other skill's value, missing masks.
`--parts refine` runs the whole recipe on latents. What exists under `--out` is not made again.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.tabletop_env import BOUNDS, CAMERA, SKILLS, TASK, Tabletop, words_picture
from benchmarks.tabletop_scene import HAND
from benchmarks.tabletop_script import ScriptActor, wanted
from burnish.cli import main as burnish
from burnish.components import load
from burnish.data import DatasetInfo, Episode, image_key, write_dataset
from burnish.evaluation.intervals import wilson_interval
from burnish.evaluation.real import evaluation_seeds, play
from burnish.masks import MaskConfig, View, mask_camera
from burnish.masks.settings import ProviderName
from burnish.pipeline import SharedRun, execute
from burnish.pipeline.run import Run
from burnish.policies import Agent, TwoStreamPolicyConfig
from burnish.recipes.base import RunSpec
from burnish.recipes.own_data import OwnData
from burnish.recipes.presets.tpm import CAMERAS, RECIPE
from burnish.recipes.runs import Resolved
from burnish.recipes.tpm import TPM
from burnish.report.outcomes import read_outcomes
from burnish.simulators.collect import CollectJob, collect
from burnish.simulators.experts import RandomActor
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.tasks import resolve
from burnish.storage import read_json, write_json
from burnish.training import ALONE

SIZE, STEPS = 32, 30
NOISE = 0.3
"""Of the demonstrations' actions."""
ARMS = {"masks": "truth", "words": "words", "none": "none"}
"""What stands beside the colours, as the environment calls it."""
SCENES = {
    "unseen": ("objects=unseen",),
    "seen": ("objects=seen",),
    "seen, distractors": ("objects=seen", "distractors=2"),
    "unseen, distractors": ("objects=unseen", "distractors=2"),
}
PROBES: dict[str, tuple[str, ...]] = {
    "colour threshold": ("masks=colour",),
    "tracker, prompted by colour": ("masks=tracker",),
    "tracker, prompted by the truth": ("masks=tracker", "prompt=truth"),
    "wrong thing masked: the thing that is meant": ("masks=truth", "said=other_thing"),
    "wrong thing masked: the thing that is masked": ("masks=truth", "said=other_thing", "judge=said"),
    "other skill's value: what is meant": ("masks=truth", "said=other_skill"),
    "other skill's value: what is said": ("masks=truth", "said=other_skill", "judge=said"),
    **{f"masks missing, {share:.0%}": ("masks=truth", f"dropout={share}") for share in (0.1, 0.25, 0.5, 0.75, 0.9)},
}


def simulator(*kwargs: str) -> SimulatorConfig:
    """The table as runs and evaluations see it."""
    return SimulatorConfig(cameras=CAMERAS, image_size=SIZE, max_steps=STEPS, env_kwargs=kwargs)


def record(args: argparse.Namespace, seed: int) -> dict[str, Path]:
    """Noisy demonstrations that succeed, once for each arm; what arms see differs in the masks' place alone."""
    paths = {arm: args.out / f"data-{arm}-{seed}" for arm in ARMS}
    if all(path.exists() for path in paths.values()):
        return paths
    seeds = range(10_000 * seed, 10_000 * seed + args.demonstrations)
    jobs = [CollectJob("expert", ScriptActor, seeds, {"noise": NOISE})]
    settings = resolve(TASK, simulator("masks=truth"))
    episodes = [e for e in collect(TASK, jobs, settings, frames_after_success=1, workers=0) if e.succeeded]
    table = Tabletop(image_size=SIZE)
    for arm, path in paths.items():
        if not path.exists():
            write(path, [_shown(each, arm, table) for each in episodes])
    return paths


def _shown(episode: Episode, arm: str, table: Tabletop) -> Episode:
    """An episode with what an arm sees in the masks' place."""
    key = image_key(mask_camera(CAMERA))
    if arm == "masks":
        return episode
    told = words_picture(table.reset(seed=episode.seed)[1]["instruction"], SIZE) * (arm == "words")
    return replace(episode, observation={**episode.observation, key: np.tile(told, (len(episode), 1, 1, 1))})


def write(path: Path, episodes: list[Episode]) -> None:
    """A data set of the table."""
    info = DatasetInfo(fps=20, simulator="gym", max_steps=STEPS, state_names=("hand.0", "hand.1"))
    write_dataset(path, episodes, info)


def two_streams(args: argparse.Namespace, arm: str) -> TPM:
    """The recipe's policy of frames at the size of this measurement."""
    c: TPM = RECIPE.preset("frames")
    return replace(
        c,
        simulator=simulator(f"masks={ARMS[arm]}"),
        history=replace(c.history, image_size=SIZE, frames=1),
        policy=TwoStreamPolicyConfig(widths=(8, 16), embedding=128, hidden=(128,), shift=2),
        pretraining=replace(c.pretraining, steps=args.steps, batch_size=32),
    )


def cloned(args: argparse.Namespace, arm: str, seed: int) -> Path:
    """The folder of an arm's policy."""
    data, folder = record(args, seed)[arm], args.out / f"{arm}-{seed}"
    own = OwnData.of(data.absolute())
    run = RunSpec("tpm", own.task(None), seed, own, TASK)
    c = two_streams(args, arm)
    plan = RECIPE.build(c, run)
    with Run.create(folder, "tpm", run.task, seed, Resolved(run, c).settings()) as opened:
        execute([plan.policy], SharedRun(opened, opened.folder, ALONE))
    return folder / "policy"


def judged(args: argparse.Namespace, policy: Path, name: str, kwargs: tuple[str, ...]) -> list[bool]:
    """Success of each start, kept beside the policy."""
    path = policy.parent / f"judged_{args.episodes}.json"
    known: dict[str, list[bool]] = read_json(path) if path.exists() else {}
    if name not in known:
        played = play(policy, TASK, simulator(*kwargs), evaluation_seeds(args.episodes), 0)
        known[name] = [each.succeeded for each in played]
        write_json(path, known)
        print(policy.parent.name, name, told(known[name]), flush=True)
    return known[name]


def told(outcomes: list[bool]) -> str:
    """A share and its 95 % Wilson interval, in percent."""
    low, high = wilson_interval(sum(outcomes), len(outcomes))
    return f"{100 * np.mean(outcomes):.0f} ({100 * low:.0f}–{100 * high:.0f})"


def imitate(args: argparse.Namespace) -> Iterator[str]:
    """Arms and scenes."""
    rows: dict[str, dict[str, list[bool]]] = {}
    weights = set()
    for seed in args.seeds:
        for arm in args.arms:
            policy = cloned(args, arm, seed)
            weights.add(sum(each.numel() for each in load(policy, Agent).policy.parameters()))
            for scene, kwargs in SCENES.items():
                outcomes = judged(args, policy, scene, (f"masks={ARMS[arm]}", *kwargs))
                rows.setdefault(arm, {}).setdefault(scene, []).extend(outcomes)
    yield f"| beside the colours | {' | '.join(SCENES)} |"
    yield f"|---|{'---|' * len(SCENES)}"
    for arm, found in rows.items():
        yield f"| {arm} | {' | '.join(told(found[scene]) for scene in SCENES)} |"
    yield f"\nWeights of every policy: {', '.join(map(str, sorted(weights)))}."


def probe(args: argparse.Namespace) -> Iterator[str]:
    """What the masked policy does with other masks, on things that it never saw."""
    yield "| masks | success |"
    yield "|---|---|"
    for name, kwargs in PROBES.items():
        outcomes = []
        for seed in args.seeds:
            outcomes += judged(args, cloned(args, "masks", seed), name, ("objects=unseen", *kwargs))
        yield f"| {name} | {told(outcomes)} |"


def latency(args: argparse.Namespace) -> Iterator[str]:
    """Milliseconds of CPU a picture, overlap with the truth, and losses, of each provider, while the script acts."""
    yield "| provider | picture | ms | overlap: thing, pad, hand | lost in pictures |"
    yield "|---|---|---|---|---|"
    ways: dict[str, tuple[ProviderName, Any]] = {
        "truth": ("truth", "truth"),
        "colour": ("colour", "colour"),
        "tracker (colour)": ("tracker", "colour"),
        "tracker (truth)": ("tracker", "truth"),
    }
    for size in (32, 64, 128):
        table = Tabletop(objects="unseen", distractors=2, image_size=size)
        for name, (provider, prompt) in ways.items():
            config = MaskConfig(provider=provider, prompt=prompt, skills=tuple(SKILLS), also=HAND)
            yield f"| {name} | {size} × {size} | {' | '.join(_followed(table, config, args.tracked))} |"


def _followed(table: Tabletop, config: MaskConfig, episodes: int) -> list[str]:
    masking, true = config.make(), replace(config, provider="truth").make()
    spent, lost, overlaps = 0.0, 0, []
    for seed in range(episodes):
        shown, info = table.reset(seed=seed)
        view = View(shown[CAMERA], info["segments"], info["labels"])
        for each in (masking, true):
            each.begin(view, info["instruction"])
        for _ in range(20):
            shown, _, _, _, info = table.step(wanted(table) * BOUNDS)
            view = View(shown[CAMERA], info["segments"], info["labels"])
            before = time.process_time()
            found = masking.follow(view) > 0
            spent += time.process_time() - before
            lost += masking.lost
            real = true.follow(view) > 0
            overlaps.append((found & real).sum((0, 1)) / np.maximum((found | real).sum((0, 1)), 1))
    told_overlaps = ", ".join(f"{value:.2f}" for value in np.mean(overlaps, axis=0))
    return [f"{1e3 * spent / len(overlaps):.2f}", told_overlaps, f"{lost} of {len(overlaps)}"]


DEMONSTRATIONS, CLUMSY, RANDOM = 80, 480, 40
"""Episodes of the refinement's data, with things of training: the script, a clumsy one, and random motion."""


def refine(args: argparse.Namespace) -> Iterator[str]:
    """The whole recipe on the masks' moments, in a quarter of an hour; judged with things that it never saw."""
    yield "| seed | cloned from the demonstrations | filtered cloning | refined | real failures removed |"
    yield "|---|---|---|---|---|"
    for seed in args.seeds:
        out, data = args.out / f"refined-{seed}", args.out / f"data-refine-{seed}"
        _mixed(data, seed)
        settings = simulator("masks=truth", "objects=unseen", "skill=bring")
        words = ["run", "tpm", "--dataset", str(data), "--task", TASK, "--seed", str(seed), "--out", str(out)]
        words += ["--config.simulator.env-kwargs", *settings.env_kwargs, "--config.simulator.max-steps", str(STEPS)]
        words += [f"--config.{name}={value}" for name, value in REFINEMENT.items()]
        if burnish([*words, "--threads", "1", "--config.evaluation.episodes", str(args.episodes)]) != 0:
            raise SystemExit(f"the run of seed {seed} failed")
        outcomes = read_outcomes(out / "evaluation")
        assert outcomes is not None
        played = {name: list(each.success) for name, each in outcomes.policies.items()}
        before, after = (np.mean(played[name]) for name in ("pretrained", "refined"))
        removed = f"{100 * (after - before) / max(1 - before, 1e-9):.0f} %"
        cells = [told(played[name]) for name in ("pretrained", "filtered", "refined")]
        yield f"| {seed} | {' | '.join(cells)} | {removed} |"


REFINEMENT = {
    "pretraining.steps": 3000,
    "world-model-training.steps": 6000,
    "ensemble-training.steps": 2000,
    "classifier-training.steps": 2500,
    "imagination.num-envs": 256,
    "imagination.horizon": STEPS,
    "refine.iterations": 100,
    "refine.imagined-episodes": 256,
    "gate.worlds": 0,
    "evaluation.videos": 0,
    "evaluation.curve-points": 0,
    "evaluation.picture-windows": 16,
}


def _mixed(path: Path, seed: int) -> None:
    """Few demonstrations, and what a clumsy script and random motion do."""
    if path.exists():
        return
    first = 10_000 * (seed + 50)
    jobs = [
        CollectJob("expert", ScriptActor, range(first, first + DEMONSTRATIONS), {"noise": NOISE}),
        *(
            CollectJob("noisy_expert", ScriptActor, range(first + 1000 + k, first + 1000 + CLUMSY, 3), {"noise": noise})
            for k, noise in enumerate((0.3, 0.5, 0.8))
        ),
        CollectJob("random", RandomActor, range(first + 5000, first + 5000 + RANDOM)),
    ]
    settings = resolve(TASK, simulator("masks=truth", "skill=bring"))
    write(path, collect(TASK, jobs, settings, frames_after_success=4, workers=0))


def picture(args: argparse.Namespace) -> Iterator[str]:
    """What is seen at four moments of an episode: the picture, the truth's masks and a tracker's, in OUT/table.png."""
    table = Tabletop(objects="unseen", distractors=2, skill="bring", image_size=SIZE)
    makers = [MaskConfig(provider=name, skills=tuple(SKILLS), also=HAND).make() for name in ("truth", "tracker")]
    shown, info = table.reset(seed=3)
    columns = []
    for moment in range(13):
        view = View(shown[CAMERA], info["segments"], info["labels"])
        masks = [each.follow(view) if moment else each.begin(view, info["instruction"]) for each in makers]
        if moment % 4 == 0:
            columns.append(np.concatenate([shown[CAMERA], *masks]))
        shown, _, _, _, info = table.step(wanted(table) * BOUNDS)
    large = np.kron(np.concatenate(columns, axis=1), np.ones((4, 4, 1), np.uint8))
    Image.fromarray(large).save(args.out / "table.png")
    yield f"{args.out / 'table.png'}: {info['instruction']}"


PARTS = {"picture": picture, "imitate": imitate, "probe": probe, "latency": latency, "refine": refine}


def main() -> None:
    """Do what is missing, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/tpm"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=list(PARTS))
    parser.add_argument("--demonstrations", type=int, default=300)
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=list(ARMS))
    parser.add_argument("--steps", type=int, default=600, help="of cloning")
    parser.add_argument("--episodes", type=int, default=100, help="fresh starts of each policy and scene")
    parser.add_argument("--tracked", type=int, default=20, help="episodes that providers are compared on")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for part in args.parts:
        print("\n".join(PARTS[part](args)), flush=True)


if __name__ == "__main__":
    main()
