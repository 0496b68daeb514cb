"""AdaWorld's claims, small: what latent actions say, what few labels are worth, plans and transfer; pictures beside it.

    python -m benchmarks.adaworld probe grid labels plan replay --out runs/adaworld
    python -m benchmarks.adaworld probe labels --set runs/video/metaworld --out runs/adaworld-metaworld

Without `--set` everything is about the gridworld of `gridworld.py`, four styles, from video; with it, about a video set
of `video_set.py`. Parts:

- `probe`: linear probes of latent → true action, on held-out episodes: of all, and fitted on three styles and tried on
  the fourth. For a set with states beside it: the same probe of the true change of the state, which is as much as two
  successive frames could ever say.
- `sweep`: the same for several β.
- `labels`: 30 … 3,000 labelled steps and the same updates for three world models: AdaWorld; one that was pretrained on
  the same video with latent actions of zero (action-agnostic), with the same adaptation; and one from scratch.
  Moving-pixel PSNR and the share of windows that follow their own actions, open loop on held-out episodes.
- `plan`: cross-entropy planning (`burnish.rl.Planner`) towards a picture of the goal, two or three moves away, in the
  gridworld itself.
- `replay`: latent actions of an episode of one style, replayed in a room of another.

What is under `--out` is not made again. `python -m benchmarks.adaworld --help` has the sizes.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.gridworld import CAMERA, MOVES, SIZE, STYLES, Room, one_hot, record
from burnish.components import load, save
from burnish.data import (
    STATE,
    Dataset,
    DatasetInfo,
    Windows,
    image_key,
    is_image_key,
    labelled_steps,
    read_dataset,
    unlabelled_video,
)
from burnish.evaluation.action_following import action_following
from burnish.evaluation.fidelity import picture_fidelity
from burnish.evaluation.imagined_pictures import draw_windows, imagine_pictures, states_at
from burnish.evaluation.probes import class_probe, linear_probe
from burnish.imagination import Models
from burnish.networks import AdapterConfig
from burnish.policies.base import Decision
from burnish.recipes.stages.latent_actions import Pairs, followed, labelled_pairs
from burnish.rewards import Outcome
from burnish.rl import Planner, PlanningConfig
from burnish.storage import read_json, write_json
from burnish.training import TrainingConfig, fit
from burnish.world_models import (
    LatentActionConfig,
    LatentActions,
    PixelDiffusion,
    PixelDiffusionConfig,
    PixelHistory,
    PixelHistoryConfig,
    SamplerConfig,
    with_latent_actions,
)

ARMS = ("adaworld", "agnostic", "scratch")


@dataclass(frozen=True)
class Study:
    """One set, its sizes, and where what was learned is kept."""

    args: argparse.Namespace
    training: Dataset
    held_out: Dataset
    cameras: tuple[str, ...]
    size: int

    @property
    def out(self) -> Path:
        """Of everything."""
        return self.args.out

    @property
    def discrete(self) -> bool:
        """Whether actions are one-hot moves."""
        return self.args.set is None

    def latent(self, chosen: float | None = None) -> LatentActions:
        """The latent actions of the whole video."""
        beta: float = self.args.beta if chosen is None else chosen
        folder = self.out / f"latent_{beta:g}"

        def train() -> LatentActions:
            video = unlabelled_video(self.training)
            torch.manual_seed(self.args.seed)
            config = LatentActionConfig(self.cameras, self.size, self.args.latent_dim, beta)
            latent = LatentActions(config).fit(video)
            how = TrainingConfig(self.args.latent_steps, 32, 2e-3, ema_decay=None)
            self.fit(latent, Windows(video, 1, 1), how, folder)
            return latent.settle(video)

        return kept(folder, LatentActions, train)

    def pretrained(self, arm: str) -> PixelDiffusion:
        """A world model of video, on latent actions or on none."""

        def train() -> PixelDiffusion:
            video = with_latent_actions(unlabelled_video(self.training), self.latent())
            if arm == "agnostic":
                video = replace(video, actions=torch.zeros_like(video.actions))
            world = self.fresh()
            how = TrainingConfig(self.args.world_steps, self.args.batch, 1e-3, weight_decay=1e-2)
            windows = Windows(video, world.history.config.frames, 1)
            return self.fit(world, windows, how, self.out / f"video_{arm}")

        return self.fresh() if arm == "scratch" else kept(self.out / f"video_{arm}", PixelDiffusion, train)

    def fresh(self) -> PixelDiffusion:
        """A world model of latent actions that has learned nothing."""
        torch.manual_seed(self.args.seed)
        seen = PixelHistoryConfig(self.cameras, self.size, frames=self.args.frames, action_encoding="linear")
        sampler = SamplerConfig(steps=self.args.denoise, sigma_min=2e-3)
        config = PixelDiffusionConfig(rollout_steps=1, sampler=sampler)
        return PixelDiffusion(PixelHistory(self.args.latent_dim, seen), config)

    def adapted(self, arm: str, labels: int) -> PixelDiffusion:
        """The same for the true actions, after the same updates on the same labelled steps."""
        folder = self.out / f"adapted_{arm}_{labels}"

        def train() -> PixelDiffusion:
            known = labelled_steps(self.training, labels, self.args.seed)
            kind = "codebook" if self.discrete else "mlp"
            torch.manual_seed(self.args.seed)
            world = self.pretrained(arm).adapted(known.action_dim, AdapterConfig(kind))
            actions, latents = labelled_pairs(known, self.latent())
            if arm != "adaworld":
                # A code of its own for each action, at random: what it means is learned from the labelled frames alone.
                codes = torch.randn(actions.shape[1], latents.shape[1], generator=torch.Generator().manual_seed(0))
                latents = actions @ (0.3 * codes)
            world.encode.tell(actions, latents)  # type: ignore[operator]
            if arm == "adaworld" and kind == "mlp":
                how = TrainingConfig(1000, 64, 3e-3, ema_decay=None)
                self.fit(world.encode, Pairs(actions, latents), how, folder / "adapter")
            how = TrainingConfig(self.args.adapt_steps, self.args.batch, self.args.adapt_rate, weight_decay=1e-2)
            return self.fit(world, Windows(known, world.history.config.frames, 1), how, folder)

        return kept(folder, PixelDiffusion, train)

    def fit(self, model: Any, sampler: Any, how: TrainingConfig, folder: Path) -> Any:
        """Train, and say how long it took."""
        folder.mkdir(parents=True, exist_ok=True)
        began = time.process_time()
        told = fit(model, sampler, how, folder, self.args.seed)
        print(f"{folder.name}: {how.steps} steps, {time.process_time() - began:.0f} s, {told}", flush=True)
        return model.eval()


def kept(folder: Path, kind: type, make: Callable[[], Any]) -> Any:
    """What lies there, or is made and put there."""
    if not (folder / "config.json").exists():
        save(folder, make())
    return load(folder, kind).eval()


# ---------------------------------------------------------------------------------------------------------------------
# What latent actions say.


def probe(study: Study, latent: LatentActions) -> dict[str, Any]:
    """Of held-out episodes, by regressions that were fitted on the others."""
    (actions, said), (held_actions, held_said) = (labelled_pairs(p, latent) for p in (study.training, study.held_out))
    nats = [json.loads(line) for line in (study.out / f"latent_{latent.config.beta:g}/metrics.jsonl").open()][-5:]
    told: dict[str, Any] = {
        name: float(np.mean([row[name] for row in nats])) for name in ("unexplained", "nats", "used")
    }
    if not study.discrete:
        told["latent"] = linear_probe(said, actions, held_said, held_actions)
        if STATE in study.training.observations:
            changes = [state_changes(part) for part in (study.training, study.held_out)]
            told["state"] = linear_probe(changes[0], actions, changes[1], held_actions)
            told["latent_to_hand"] = linear_probe(said, changes[0][:, :4], held_said, changes[1][:, :4])
        return told
    moves, held_moves = actions.argmax(1), held_actions.argmax(1)
    styles, held_styles = (styles_of(part)[followed(part)] for part in (study.training, study.held_out))
    told["all"] = class_probe(said, moves, held_said, held_moves)
    told["across"] = {}
    for number, name in enumerate(STYLES):
        rows, held = styles != number, held_styles == number
        told["across"][name] = class_probe(said[rows], moves[rows], held_said[held], held_moves[held])
    return told


def state_changes(part: Dataset) -> Tensor:
    """What happened to the true state, (N, D)."""
    rows = followed(part).nonzero().flatten()
    return part.observations[STATE][rows + 1] - part.observations[STATE][rows]


def styles_of(part: Dataset) -> Tensor:
    """int64 (F,): the number of each frame's style."""
    return torch.tensor([list(STYLES).index(task) for task in part.tasks])[part.episode_of_frame]


# ---------------------------------------------------------------------------------------------------------------------
# What labels are worth.


def judged(study: Study, world: PixelDiffusion) -> dict[str, Any]:
    """Moving-pixel PSNR at the first and the last imagined frame, and the share that follows its own actions."""
    horizon, limit, seed = study.args.horizon, study.args.windows, study.args.seed
    part = replace(study.held_out, sources=("all",) * study.held_out.num_episodes)
    fidelity = picture_fidelity(world, part, horizon, seed, limit=limit).summary()["sources"]["all"]
    following = action_following(world, part, horizon, seed, limit=limit).summary()
    moving = fidelity["psnr_moving"]
    return {
        "psnr_moving": [moving["model"][0], moving["model"][-1]],
        "hold": [moving["hold_last"][0], moving["hold_last"][-1]],
        "follows": following["own_future"]["rate"],
        "follows_other": following["other_future"]["rate"],
    }


# ---------------------------------------------------------------------------------------------------------------------
# Plans and transfer, in the gridworld.


@dataclass(frozen=True)
class GoalPicture:
    """Minus the distance of what is imagined to each row's goal picture, in units of a walker's size."""

    world: PixelDiffusion
    goals: Tensor

    def __call__(self, state: Any, action: Tensor, following: Any) -> Outcome:
        """Rows are those of the goals, repeated for each plan."""
        features = self.world.features(following)
        goals = self.goals.repeat_interleave(len(features) // len(self.goals), 0)
        distance = (features - goals).square().mean(1)
        return Outcome(-100 * distance, torch.zeros_like(distance, dtype=torch.bool))


@dataclass
class Anything:
    """Moves drawn without any idea, as a start of the search."""

    action_dim: int = len(MOVES)

    def act(self, features: Tensor, deterministic: bool, generator: torch.Generator | None) -> Decision:
        """One move a row."""
        chosen = torch.rand(len(features), 1, self.action_dim, generator=generator) * 2 - 1
        return Decision(chosen, chosen)


def plan(study: Study, world: PixelDiffusion) -> dict[str, Any]:
    """Share of goals reached that are two or three moves away, replanned at each of four moves; random moves beside."""
    rooms, goals = problems(study.args.problems)
    pictures = np.stack([shown(room, goal) for room, goal in zip(rooms, goals, strict=True)])
    wanted = torch.from_numpy(pictures).movedim(-1, 1).float().div(127.5).sub(1).flatten(1)
    config = PlanningConfig(3, 2, 48, 0, 6, 0.5, 1.0, 0.3, 0.95, judged=1)
    planner = Planner(Models(world, GoalPicture(world, wanted)), Anything(), config)  # type: ignore[arg-type]
    planner.generator.manual_seed(study.args.seed)
    state, action = world.initial(len(rooms)), None

    def planned() -> list[int]:
        nonlocal state, action
        seen = torch.from_numpy(np.stack([room.picture() for room in rooms]))
        state = world.observe(state, action, {image_key(CAMERA): seen})
        moves = planner.plan(state)[:, 0].argmax(1).tolist()
        action = torch.from_numpy(np.stack([one_hot(move) for move in moves]))
        return moves

    reached = walked(rooms, goals, planned)
    others, _ = problems(study.args.problems)
    random = np.random.default_rng(study.args.seed)
    lost = walked(others, goals, lambda: [int(random.choice(room.legal())) for room in others])
    return {"reached": reached, "random": lost, "problems": len(rooms)}


def walked(rooms: list[Room], goals: list[tuple[int, ...]], choose: Callable[[], list[int]], moves: int = 4) -> float:
    """Share of the rooms whose walker passes its goal."""
    reached = np.zeros(len(rooms), bool)
    for _ in range(moves):
        for number, (room, move) in enumerate(zip(rooms, choose(), strict=True)):
            room.move(move)
            reached[number] |= tuple(room.place) == goals[number]
    return float(reached.mean())


def problems(count: int) -> tuple[list[Room], list[tuple[int, ...]]]:
    """Rooms that no training saw, of all styles in turn, and a place two or three moves away in each."""
    rooms: list[Room] = []
    goals: list[tuple[int, ...]] = []
    seed = 900_000
    while len(rooms) < count:
        room, seed = Room(list(STYLES.values())[len(rooms) % len(STYLES)], seed), seed + 1
        far = [place for place, steps in distances(room).items() if steps in (2, 3)]
        if far:
            rooms.append(room)
            goals.append(far[seed % len(far)])
    return rooms, goals


def distances(room: Room) -> dict[tuple[int, ...], int]:
    """Moves from where the walker is to every place that it can get to."""
    begun, found = room.place, {tuple(map(int, room.place)): 0}
    queue = list(found)
    for place in queue:
        room.place = np.array(place)
        for move in room.legal():
            there = tuple(map(int, room.place + MOVES[move]))
            if there not in found:
                found[there] = found[place] + 1
                queue.append(there)
    room.place = begun
    return found


def shown(room: Room, place: tuple[int, ...]) -> np.ndarray:
    """What the room would show with its walker there."""
    here, room.place = room.place, np.array(place)
    picture = room.picture()
    room.place = here
    return picture


def replayed(study: Study, world: PixelDiffusion, latent: LatentActions) -> dict[str, Any]:
    """Latent actions of a held-out episode, replayed in rooms of the next style where the same moves are possible.

    Counted: imagined walkers that end where the moves lead (the nearest of the pictures of all free places).
    """
    part, length = study.held_out, 3
    said = latent.of_dataset(unlabelled_video(part))
    names, right, still, count, strips = list(STYLES), 0, 0, 0, []
    for number in range(study.args.problems):
        source = int(part.starts[number % part.num_episodes])
        moves = part.actions[source : source + length].argmax(1).tolist()
        style = STYLES[names[(names.index(part.tasks[number % part.num_episodes]) + 1) % len(names)]]
        room = _room_for(style, moves, 700_000 + 100 * number)
        if room is None:
            continue
        first = {image_key(CAMERA): torch.from_numpy(room.picture())[None]}
        state = world.observe(world.initial(1), None, first)
        generator = torch.Generator().manual_seed(number)
        acts = said[source : source + length][None]
        found = imagine_pictures(world, state, acts, image_key(CAMERA), generator)[0].numpy()
        before = room.place.copy()
        for move in moves:
            room.move(move)
        free = [tuple(place) for place in np.argwhere(~room.walls)]
        errors = [((shown(room, place).astype(float) - found[-1]) ** 2).sum() for place in free]
        ends = free[int(np.argmin(errors))]
        right, count = right + (ends == tuple(room.place)), count + 1
        still += bool((before == room.place).all())
        recorded = part.observations[image_key(CAMERA)][source : source + length + 1].numpy()
        strips.append(np.concatenate([*recorded, first[image_key(CAMERA)][0].numpy(), *found, room.picture()], 1))
    strip(study.out / "replay.png", strips[:8])
    return {"right": right / count, "standing_still_would_be": still / count, "replays": count}


def _room_for(style: Any, moves: list[int], seed: int) -> Room | None:
    """A room of the style in which the moves are possible from where its walker is."""
    for offset in range(100):
        room = Room(style, seed + offset)
        begun, fine = room.place.copy(), True
        for move in moves:
            fine = fine and move in room.legal()
            room.move(move)
        room.place = begun
        if fine:
            return room
    return None


# ---------------------------------------------------------------------------------------------------------------------
# Pictures.


def beside(study: Study, worlds: dict[str, PixelDiffusion]) -> None:
    """Rows: what was recorded, then what each world model imagines under the same actions."""
    part, key = study.held_out, image_key(study.cameras[0])
    generator = torch.Generator().manual_seed(study.args.seed)
    horizon, rows = study.args.horizon, []
    for present in draw_windows(part, horizon, 3, generator).split(1):
        rows.append(np.concatenate(list(part.observations[key][int(present) : int(present) + horizon + 1].numpy()), 1))
        actions = part.actions[int(present) : int(present) + horizon][None]
        for world in worlds.values():
            found = imagine_pictures(world, states_at(world, part, present), actions, key, generator)[0].numpy()
            rows.append(np.concatenate([part.observations[key][int(present)].numpy(), *found], 1))
    strip(study.out / "beside.png", rows)


def strip(path: Path, rows: list[np.ndarray], scale: int = 3) -> None:
    """Rows of pictures as one."""
    whole = np.concatenate(rows, 0)
    Image.fromarray(whole).resize((whole.shape[1] * scale, whole.shape[0] * scale), Image.Resampling.NEAREST).save(path)


# ---------------------------------------------------------------------------------------------------------------------


def study_of(args: argparse.Namespace) -> Study:
    """The set that was asked for."""
    if args.set is None:
        info, names = DatasetInfo(fps=5), list(STYLES)
        training = Dataset.from_episodes(record(names, args.episodes, 25, 0), info)
        held_out = Dataset.from_episodes(record(names, 12, 25, 500_000), info)
        return Study(args, training, held_out, (CAMERA,), SIZE)
    whole = read_dataset(args.set, cache=args.out / "pictures")
    keys = [key for key in whole.observations if is_image_key(key)]
    training, held_out = whole.split(0.15, 0)
    return Study(
        args, training, held_out, tuple(key.split(".")[-1] for key in keys), whole.observations[keys[0]].shape[1]
    )


def measure(study: Study, part: str) -> dict[str, Any]:
    """One part, and what it found."""
    args = study.args
    if part == "probe":
        return probe(study, study.latent())
    if part == "sweep":
        return {f"{beta:g}": probe(study, study.latent(beta)) for beta in args.betas}
    if part == "labels":
        found: dict[str, Any] = {}
        for labels in args.labels:
            worlds = {arm: study.adapted(arm, labels) for arm in args.arms}
            found[str(labels)] = {arm: judged(study, world) for arm, world in worlds.items()}
            print(labels, found[str(labels)], flush=True)
            beside(study, worlds)
        return found
    if part == "plan":
        return {arm: plan(study, study.adapted(arm, args.labels[-1])) for arm in args.arms}
    return replayed(study, study.pretrained("adaworld"), study.latent())


def main() -> None:
    """Measure what is asked for; results.json has everything so far."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=("probe", "sweep", "labels", "plan", "replay"))
    parser.add_argument("--set", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/adaworld"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=60, help="of the gridworld, in each style")
    parser.add_argument("--latent-dim", type=int, default=8)
    parser.add_argument("--beta", type=float, default=0.003)
    parser.add_argument("--betas", type=float, nargs="+", default=[0.0003, 0.003, 0.03, 0.3])
    parser.add_argument("--latent-steps", type=int, default=1500)
    parser.add_argument("--world-steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--frames", type=int, default=2)
    parser.add_argument("--denoise", type=int, default=2)
    parser.add_argument("--labels", type=int, nargs="+", default=[30, 300, 3000])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--adapt-steps", type=int, default=300)
    parser.add_argument("--adapt-rate", type=float, default=3e-4)
    parser.add_argument("--horizon", type=int, default=4)
    parser.add_argument("--windows", type=int, default=100)
    parser.add_argument("--problems", type=int, default=24)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    study, path = study_of(args), args.out / "results.json"
    for part in args.parts:
        found = read_json(path) if path.exists() else {}
        found[part] = measure(study, part)
        write_json(path, found)
        print(part, json.dumps(found[part]), flush=True)


if __name__ == "__main__":
    main()
