"""LaDi-WM's imagine-and-resample against the same policy without it, on Meta-World from pictures.

    python benchmarks/video_set.py --tasks drawer-open-v3 reach-v3 door-open-v3 --frames 9000 --size 32
        --cameras corner3 topview --action-repeat 5 --max-steps 40 --out runs/video
    python -m benchmarks.ladiwm --video runs/video --seeds 0 1 2 --out runs/ladiwm

Both encoders and one latent world model learn from the video set, all tasks together. Of each task and seed: ten
demonstrations of the noisy script, and two policies cloned from them, alike in all but that one is told what the world
model imagines (`guided`) and the other never is (`plain`). The guided one decides with 0, 1, … rounds; all play the
same fresh starts. Beside success: how far proposals are from what the script did in demonstrations that nobody learned
from, how far apart sampled proposals are, and seconds of a decision.

Resumable: what lies under OUT is not made again; the table is printed after each task. OUT/filmstrip.png shows what the
world model imagines beside what was recorded.
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
from torch import Tensor

from burnish.components import frozen, load, save
from burnish.data import (
    STATE,
    Dataset,
    DatasetInfo,
    Episode,
    Windows,
    action_chunks,
    image_key,
    is_image_key,
    read_dataset,
    write_dataset,
)
from burnish.evaluation.actor import PolicyActor
from burnish.evaluation.imagined_pictures import draw_windows
from burnish.evaluation.intervals import wilson_interval
from burnish.evaluation.real import evaluation_seeds, play_job
from burnish.policies import Agent, ImaginingPolicy, spread
from burnish.recipes.ladiwm import CAMERAS, SIZE, LaDiWM
from burnish.recipes.presets.ladiwm import DEFAULT
from burnish.recipes.stages.foreseeing import Told
from burnish.simulators.collect import CollectJob, collect
from burnish.simulators.experts import ExpertActor
from burnish.simulators.settings import SimulatorConfig
from burnish.storage import read_json, write_json
from burnish.training import Sampler, TrainingConfig, fit
from burnish.world_models import (
    Autoencoder,
    Encoded,
    FeatureStreams,
    LatentDiffusion,
    ObservationHistory,
    SelfSupervised,
    as_states,
    with_latents,
)

TASKS = ("drawer-open-v3", "reach-v3", "door-open-v3")
SIMULATOR = SimulatorConfig(action_repeat=5, max_steps=40, cameras=CAMERAS, image_size=SIZE)
HELD_OUT, NOISE = 5, 0.1
DRAWS, ROWS = 16, 64


def trained(model: Any, sampler: Sampler, config: TrainingConfig, folder: Path, seed: int) -> Any:
    """The model after training; resumable."""
    if (folder / "model").exists():
        return load(folder / "model")
    began = time.process_time()

    def say(step: int, metrics: dict[str, float]) -> None:
        if step % 250 == 0:
            print(folder.name, step, round(metrics["loss"], 4), f"{time.process_time() - began:.0f} s", flush=True)

    fit(model, sampler, config, folder / "training", seed, on_step=say)
    save(folder / "model", model)
    return model


def encoders(c: LaDiWM, video: Dataset, args: argparse.Namespace) -> FeatureStreams:
    """Geometry and semantics of the video set."""
    if (args.out / "encoder").exists():
        return frozen(load(args.out / "encoder", FeatureStreams))
    torch.manual_seed(0)
    geometry = Autoencoder(video.action_dim, c.geometry).fit(video)  # type: ignore[arg-type]
    windows = Windows(video, history=1, horizon=2)
    geometry = trained(
        geometry, windows, replace(c.geometry_training, steps=args.geometry_steps), args.out / "geometry", 0
    )
    semantics = SelfSupervised(c.semantics)  # type: ignore[arg-type]
    training = replace(c.semantics_training, steps=args.semantics_steps)
    semantics = trained(semantics, Windows(video, history=1, horizon=0), training, args.out / "semantics", 0)
    joined = frozen(FeatureStreams({"geometry": geometry, "semantics": semantics})).fit(video)
    save(args.out / "encoder", joined)
    return joined


def latents_of(encoder: FeatureStreams, data: Dataset) -> Dataset:
    """The data set as models of latents read it."""
    return as_states(with_latents(data, encoder.encode_dataset(data)))


def world_model(c: LaDiWM, encoder: FeatureStreams, parts: tuple[Dataset, Dataset], args: Any) -> LatentDiffusion:
    """One for all tasks of the set; what it is worth on held-out episodes is written beside it."""
    torch.manual_seed(0)
    seen = ObservationHistory(encoder.latent_dim, parts[0].action_dim, c.history)
    world = LatentDiffusion(seen, encoder.streams, c.world_model).fit(parts[0])
    windows = Windows(parts[0], history=c.history.frames, horizon=c.world_model.frames)
    training = replace(c.world_model_training, steps=args.world_steps)
    world = frozen(trained(world, windows, training, args.out / "world", 0))
    if not (args.out / "world.json").exists():
        write_json(args.out / "world.json", foresight(world, parts[1]))
    return world


@torch.no_grad()
def foresight(world: LatentDiffusion, held_out: Dataset, rows: int = 1000) -> dict[str, list[float]]:
    """The share of held-out change since the present that predictions explain, by frame: of all features, under the
    recorded actions, and under another window's."""
    windows = Windows(held_out, world.history.config.frames, world.config.frames)
    generator = torch.Generator().manual_seed(0)
    batch = windows.sample(rows, generator)
    frames, h = batch.observation[STATE], world.history.config.frames
    actions = batch.action[:, h - 1 : -1]
    true = frames[:, h:] - frames[:, h - 1 : h]
    found: dict[str, list[float]] = {}
    for name, given in (("own actions", actions), ("another window's", actions.roll(1, 0))):
        changes = world.foresee(frames[:, :h].flatten(1), given, deterministic=True)
        ends = (changes * world.delta_std).cumsum(1)
        found[name] = (1 - (ends - true).square().mean((0, 2)) / true.square().mean((0, 2))).tolist()
    return found


@torch.no_grad()
def filmstrip(encoder: FeatureStreams, world: LatentDiffusion, held_out: Dataset, path: Path, length: int = 8) -> None:
    """Three windows, three rows each: recorded, as the geometry stream draws that, and what is imagined from the first
    frame on under the recorded actions, frame by frame."""
    latent, key = latents_of(encoder, held_out), image_key(CAMERAS[0])
    present = draw_windows(latent, length, 3, torch.Generator().manual_seed(3))
    states, generator = world.recorded(latent).rows(present), torch.Generator().manual_seed(5)
    imagined = [states]
    for step in range(length):
        imagined.append(world.imagine(imagined[-1], latent.actions[present + step], generator))
    frames = present[:, None] + torch.arange(length + 1)
    drawn = [encoder.decode(latent.observations[STATE][column])[key] for column in frames.T]
    told = [encoder.decode(state.observation[:, -1])[key] for state in imagined]
    real = [held_out.observations[key][column] for column in frames.T]
    rows = [torch.cat([each[number] for each in line], dim=1) for number in range(3) for line in (real, drawn, told)]
    strip = torch.cat(rows).repeat_interleave(3, 0).repeat_interleave(3, 1)
    Image.fromarray(strip.numpy()).save(path)


def demonstrations(task: str, seed: int, count: int, out: Path) -> Dataset:
    """Successful episodes of the noisy script: those to learn from, then those that proposals are compared with."""
    path = out / "demonstrations"
    if not path.exists():
        needed = count + HELD_OUT
        kept: list[Episode] = []
        first = 100_000 * (seed + 1)
        while len(kept) < needed:
            starts = range(first, first + needed)
            jobs = [CollectJob("expert", ExpertActor, starts, {"task": task, "noise": NOISE})]
            played = collect(task, jobs, SIMULATOR, frames_after_success=6, workers=0)
            kept += [episode for episode in played if episode.succeeded]
            first += needed
        print(task, seed, f"{len(kept)} of {first - 100_000 * (seed + 1)} scripted episodes succeed", flush=True)
        write_dataset(
            path, kept[:needed], DatasetInfo(fps=16, robot_type="sawyer", simulator="metaworld", max_steps=40)
        )
    return pictures(read_dataset(path, cameras=CAMERAS))


def pictures(data: Dataset) -> Dataset:
    """Without states: nothing here reads them."""
    return replace(data, observations={key: each for key, each in data.observations.items() if is_image_key(key)})


def policy_of(
    kind: str, c: LaDiWM, world: LatentDiffusion, pairs: tuple[Tensor, Tensor], args: Any, place: Path, seed: int
) -> ImaginingPolicy:
    """A clone: `plain` is never told what is imagined."""
    changed = replace(c.policy, proposal_noise=args.proposal_noise)
    if kind == "plain":
        changed = replace(changed, unguided_share=1.0, rounds=0)
    torch.manual_seed(seed)
    policy = ImaginingPolicy(world, changed)
    training = replace(c.pretraining, steps=args.policy_steps)
    policy = trained(policy, Told(policy, *pairs), training, place / kind, seed)
    policy.begin_refinement()
    return policy.eval()


@torch.no_grad()
def measured(policy: ImaginingPolicy, pairs: tuple[Tensor, Tensor], seed: int) -> dict[str, float]:
    """Error and spread of proposals on held-out demonstrations, and milliseconds of a decision of one robot."""
    features, chunks = pairs
    executed = policy.config.chunk
    error = policy.act(features, True, None).action_chunk - chunks[:, :executed]
    rows = features[:: -(-len(features) // ROWS)]
    policy.act(features[:1], True, None)
    began = time.process_time()
    for row in features[:20]:
        policy.act(row[None], True, None)
    spent = (time.process_time() - began) / 20
    return {
        "rmse": float(error.square().mean().sqrt()),
        "spread": float(spread(policy.with_rounds(policy.config.rounds, exploring=False), rows, DRAWS, seed).mean()),
        "ms": 1000 * spent,
    }


def study(task: str, seed: int, c: LaDiWM, models: tuple[FeatureStreams, LatentDiffusion], args: Any) -> None:
    """One task and seed: clone, measure, play."""
    encoder, world = models
    place = args.out / f"{task}-{seed}"
    data = demonstrations(task, seed, args.demonstrations, place)
    latent = latents_of(encoder, data)
    parts = [latent.subset(range(args.demonstrations)), latent.subset(range(args.demonstrations, latent.num_episodes))]
    sets = []
    for part in parts:
        frames, chunks = action_chunks(part, c.policy.denoiser.chunk)
        sets.append((world.features(world.recorded(part))[frames], chunks))
    path, outcomes = place / "results.json", f"success {args.disturbance}"
    for name, kind, rounds in arms(args.rounds):
        known: dict[str, Any] = read_json(path) if path.exists() else {}
        row = known.setdefault(name, {})
        if "rmse" in row and len(row.get(outcomes, [])) >= args.starts:
            continue
        policy = policy_of(kind, c, world, sets[0], args, place, seed).with_rounds(rounds)
        if "rmse" not in row:
            row |= measured(policy, sets[1], seed)
        agent, known_outcomes = place / "agents" / name, row.get(outcomes, [])
        save(agent, Agent(Encoded(encoder, world), policy, task))
        if starts := evaluation_seeds(args.starts)[len(known_outcomes) :]:
            job = CollectJob("policy", PolicyActor, starts, {"folder": agent.absolute(), "noise": args.disturbance})
            played = play_job(job, task, SIMULATOR, 0)
            row[outcomes] = known_outcomes + [episode.succeeded for episode in played]
        write_json(path, known)
        print(task, seed, name, told(row.get(outcomes, [])), row["rmse"], row["spread"], flush=True)


def arms(rounds: int) -> Iterator[tuple[str, str, int]]:
    """(name, kind of policy, rounds)."""
    yield "plain", "plain", 0
    for count in range(rounds + 1):
        yield f"guided, {count} rounds", "guided", count


def table(args: argparse.Namespace) -> Iterator[str]:
    """For each task and way to decide, over the seeds that are there: success, and what proposals are like."""
    found: dict[tuple[str, str], list[Any]] = {}
    for path in sorted(args.out.glob("*/results.json")):
        for name, row in read_json(path).items():
            found.setdefault((path.parent.name.rsplit("-", 1)[0], name), []).append(row)
    kinds = sorted({key for rows in found.values() for row in rows for key in row if key.startswith("success")})
    yield f"| task | decides | {' | '.join(kinds)} | error | spread | ms | seeds |"
    yield f"|---|---|{'---|' * len(kinds)}---|---|---|---|"
    for (task, name), rows in found.items():
        means = [float(np.mean([row[key] for row in rows])) for key in ("rmse", "spread", "ms")]
        success = " | ".join(told([outcome for row in rows for outcome in row.get(kind, [])]) for kind in kinds)
        numbers = f"{means[0]:.3f} | {means[1]:.3f} | {means[2]:.0f} | {len(rows)}"
        yield f"| {task} | {name} | {success} | {numbers} |"


def told(outcomes: list[bool]) -> str:
    """A count, and its share's 95 % Wilson interval in percent."""
    if not outcomes:
        return "–"
    low, high = wilson_interval(sum(outcomes), len(outcomes))
    return f"{sum(outcomes)}/{len(outcomes)} ({100 * low:.0f}–{100 * high:.0f})"


def main() -> None:
    """Make what is not there, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, required=True, help="a set of benchmarks/video_set.py")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--demonstrations", type=int, default=10)
    parser.add_argument("--starts", type=int, default=100, help="0: nothing is played")
    parser.add_argument("--disturbance", type=float, default=0.0, help="noise on actions, as on the script's")
    parser.add_argument("--rounds", type=int, default=3, help="the most")
    parser.add_argument("--geometry-steps", type=int, default=DEFAULT.geometry_training.steps)
    parser.add_argument("--semantics-steps", type=int, default=DEFAULT.semantics_training.steps)
    parser.add_argument("--world-steps", type=int, default=DEFAULT.world_model_training.steps)
    parser.add_argument("--policy-steps", type=int, default=DEFAULT.pretraining.steps)
    parser.add_argument("--proposal-noise", type=float, default=DEFAULT.policy.proposal_noise)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    video = pictures(read_dataset(args.video, cameras=CAMERAS))
    learned, held_out = video.split(0.1, seed=0)
    encoder = encoders(DEFAULT, learned, args)
    world = world_model(DEFAULT, encoder, (latents_of(encoder, learned), latents_of(encoder, held_out)), args)
    if not (args.out / "filmstrip.png").exists():
        filmstrip(encoder, world, held_out, args.out / "filmstrip.png")
    for seed in args.seeds:
        for task in args.tasks:
            study(task, seed, DEFAULT, (encoder, world), args)
            print("\n".join(table(args)), flush=True)


if __name__ == "__main__":
    main()
