"""What a world of 3-D Gaussians foresees: sets, pictures, and pictures of a view that the data never had.

    burnish run gwm --task drawer-open-v3 --seed 0 --out runs/gwm
    python -m benchmarks.gwm --run runs/gwm --out runs/gwm_study
    python -m benchmarks.gwm --run runs/gwm --out runs/gwm_study --play 50

Records fresh episodes (of the noisy script and of uniform motion) that no model of the run has seen, with one camera
more. From each fourth frame the run's world model imagines HORIZON steps under the recorded actions. Measured at each
step: the Chamfer distance of the imagined set to the true one, beside the set of the present frame kept as it is, and
the set that the autoencoder makes of the true one; the PSNR of the drawn picture beside holding the present picture;
and the same from the further camera, where the sets with the background's Gaussians are drawn: imagined, true, and
kept. Intervals are over episodes. Writes OUT/gwm.json and pictures: recorded above imagined, for both cameras.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from burnish.components import load
from burnish.data import STATE, image_key, read_dataset, view_tensors, write_dataset
from burnish.evaluation.intervals import mean_interval, paired_difference, wilson_interval
from burnish.evaluation.real import evaluation_seeds, play
from burnish.networks import Gaussians, View, chamfer, render
from burnish.pipeline.run import read_settings
from burnish.recipes.recording import Recorder
from burnish.recipes.runs import reopen
from burnish.recipes.stages.recording import Real
from burnish.recipes.stages.scenes import simulated_cameras
from burnish.simulators.collect import CollectJob, collect
from burnish.simulators.experts import ExpertActor, RandomActor
from burnish.simulators.parallel import shared_pool
from burnish.simulators.vector import EVALUATION_SEEDS
from burnish.world_models import DiffusionWorldModel, Encoded, SceneAutoencoder

HORIZON = 8
PICTURES = 40
"""Windows whose pictures are drawn, at the first and the last step."""
EVERY = 4
"""A window begins at each fourth frame."""
FIRST = EVALUATION_SEEDS + 500_000
"""Seeds of episodes that neither runs nor their evaluations play."""


POLICIES = ("policy", "filtered", "refined")
"""The clone of the demonstrations, that of all successes, and the refined one: folders of a run."""


class Study:
    """A run's encoder and world model, and fresh episodes."""

    def __init__(self, args: argparse.Namespace) -> None:
        resolved = reopen(args.run)
        c, run = resolved.config, resolved.run
        self.c, self.camera, self.view_name = c, args.camera, c.autoencoder.scene.views[0]
        simulator = Recorder(run.task, run.seed, c.simulator, shared_pool()).simulator
        jobs = [
            CollectJob("noisy_expert", ExpertActor, seeds(0, args.episodes), {"task": run.task, "noise": 0.4}),
            CollectJob("random", RandomActor, seeds(1000, args.episodes // 3)),
        ]
        seen = type(simulator)(**{**vars(simulator), "cameras": (*simulator.cameras, args.camera)})
        if not (args.out / "fresh").exists():
            info = Recorder(run.task, run.seed, seen, shared_pool()).info
            write_dataset(args.out / "fresh", collect(run.task, jobs, seen, workers=0), info)
        self.data = read_dataset(args.out / "fresh", cameras=seen.cameras)
        self.sets = load(args.run / "autoencoder", SceneAutoencoder).eval()
        self.world = load(args.run / "world_model", DiffusionWorldModel).eval()
        self.views = {
            self.view_name: self.sets.scenes.view(0),
            args.camera: View(*view_tensors(simulated_cameras(Real(run.task, run.seed, seen), (args.camera,))[0])),
        }
        with torch.no_grad():
            still = render(self.sets.scenes.background(), self.views[args.camera], c.autoencoder.image_size)
        known = still.opacity > 0.5
        far = torch.where(known, still.depth / still.opacity.clamp(min=1e-3), torch.inf)
        self.behind = {args.camera: (still.colour, far)}
        self.known = {self.view_name: torch.ones_like(known), args.camera: known}
        present = [
            torch.arange(start, start + length - HORIZON, EVERY)
            for start, length in zip(self.data.starts.tolist(), self.data.lengths.tolist(), strict=True)
            if length > HORIZON
        ]
        self.present = torch.cat(present)
        self.episode = self.data.episode_of_frame[self.present]

    def observed(self, frames: Tensor) -> Mapping[str, Tensor]:
        """What the encoder sees of frames."""
        return {key: self.data.observations[key][frames] for key in self.sets.observation_shapes}

    @torch.no_grad()
    def imagined(self, seed: int = 0) -> list[Tensor]:
        """The latents after 1 to HORIZON steps from every window's present."""
        model = Encoded(self.sets, self.world)
        state, generator = model.recorded(self.data).rows(self.present), torch.Generator().manual_seed(seed)
        found = []
        for step in range(HORIZON):
            state = model.imagine(state, self.data.actions[self.present + step], generator)
            found.append(self.world.decode(state)[STATE])
        return found

    def interval(self, values: Tensor, windows: Tensor | None = None) -> tuple[float, float, float]:
        """Mean and 95 % interval over the episodes' means; of some `windows`."""
        episode = self.episode if windows is None else self.episode[windows]
        return mean_interval([float(values[episode == each].mean()) for each in episode.unique()])

    @torch.no_grad()
    def measured(self) -> dict[str, Any]:
        """The tables."""
        now = self.sets.scenes.read(self.observed(self.present))
        kept_sets: dict[int, tuple[dict[str, Gaussians], Tensor]] = {}
        rows: dict[str, Any] = {"windows": len(self.present), "episodes": len(self.episode.unique()), "steps": {}}
        for step, latents in enumerate(self.imagined(), start=1):
            seen = self.observed(self.present + step)
            then = self.sets.scenes.read(seen)
            true, there = then[0].position, then[1]
            imagined = self.sets.moving(latents)
            again = self.sets.moving(self.sets.encode(seen))
            foreseen = chamfer(imagined.position, true, there=there)
            kept = chamfer(now[0].position, true, now[1], there)
            own = [self.episode == each for each in self.episode.unique()]
            ratio = [float(foreseen[rows_of].mean() / kept[rows_of].mean()) for rows_of in own]
            rows["steps"][step] = {
                "imagined": self.interval(foreseen),
                "kept": self.interval(kept),
                "encoded": self.interval(chamfer(again.position, true, there=there)),
                "ratio": mean_interval(ratio),
                "ratio_of_means": float(foreseen.mean() / kept.mean()),
            }
            print(step, json.dumps(rows["steps"][step]), flush=True)
            some = torch.arange(0, len(self.present), -(-len(self.present) // PICTURES))
            sets = {"imagined": imagined, "encoded": again, "true set": then[0], "kept set": now[0]}
            kept_sets[step] = {name: Gaussians(scene.numbers[some]) for name, scene in sets.items()}, some
        for step in (1, HORIZON):
            rows["steps"][step]["pictures"] = self.pictures(step, *kept_sets[step])
        return rows

    def pictures(self, step: int, sets: dict[str, Gaussians], some: Tensor) -> dict[str, Any]:
        """PSNR in dB of whole pictures (where the background's Gaussians show something), and of the pixels that differ
        between the present frame and the later one."""
        found: dict[str, Any] = {}
        for camera in self.views:
            before = self.data.observations[image_key(camera)][self.present[some]]
            after = self.data.observations[image_key(camera)][self.present[some] + step]
            known = self.known[camera].expand(len(some), -1, -1)
            changed = ((before.int() - after.int()).abs().amax(-1) > 25) & known
            moves = changed.flatten(1).any(1)
            drawn = {name: self.drawn(scene, camera) for name, scene in sets.items()} | {"held picture": before}
            found[camera] = {
                name: {
                    "whole": self.interval(psnr(picture, after, known), some),
                    "moving": self.interval(psnr(picture, after, changed)[moves], some[moves]),
                }
                for name, picture in drawn.items()
            }
        return found

    def drawn(self, scene: Gaussians, camera: str) -> Tensor:
        """Sets as pictures, uint8: before the data's own background where there is one, else before that of the
        background's Gaussians, drawn once and hiding what is behind it."""
        made, behind = [], self.behind.get(camera)
        for rows in scene.numbers.split(8):
            picture = render(Gaussians(rows), self.views[camera], self.c.autoencoder.image_size)
            if behind is None:
                colours = self.sets._before(picture, 0)
            else:
                nearer = (picture.depth / picture.opacity.clamp(min=1e-3) < behind[1]).unsqueeze(-1)
                there = picture.opacity.unsqueeze(-1) * nearer
                colours = (picture.colour * nearer + (1 - there) * behind[0]).clamp(0, 1)
            made.append((255 * colours).round().to(torch.uint8))
        return torch.cat(made)

    @torch.no_grad()
    def film(self, path: Path, windows: int = 2) -> None:
        """For some windows: recorded, imagined, and both from the further camera."""
        steps = (0, 2, 4, 6, HORIZON)
        latents = [self.world.decode(Encoded(self.sets, self.world).recorded(self.data).rows(self.present))[STATE]]
        latents += self.imagined()
        ends = [self.sets.scenes.read(self.observed(self.present + step)) for step in (0, HORIZON)]
        moved = chamfer(ends[0][0].position, ends[1][0].position, ends[0][1], ends[1][1])
        for number, row in enumerate(moved.argsort(descending=True)[:: max(1, len(moved) // 12)][:windows].tolist()):
            one = self.present[row : row + 1]
            strips = []
            for camera in self.views:
                recorded = [self.data.observations[image_key(camera)][one + step][0] for step in steps]
                sets = [self.sets.moving(latents[step][row : row + 1]) for step in steps]
                strips += [torch.cat(recorded, 1), torch.cat([self.drawn(each, camera)[0] for each in sets], 1)]
            whole = torch.cat(strips).numpy()
            Image.fromarray(whole).resize((3 * whole.shape[1], 3 * whole.shape[0]), 0).save(path / f"film-{number}.png")


def played(run: Path, out: Path, episodes: int) -> dict[str, Any]:
    """Real success of the run's policies within its time limit, from the same fresh starts; ten more at a time."""
    resolved, path = reopen(run), out / "played.json"
    found: dict[str, list[bool]] = json.loads(path.read_text()) if path.exists() else {name: [] for name in POLICIES}
    for first in range(0, episodes, 10):
        for name, outcomes in found.items():
            if len(outcomes) <= first:
                starts = evaluation_seeds(10, offset=first)
                made = play(run / name, resolved.run.task, resolved.config.simulator, starts, 0)
                outcomes += [episode.succeeded for episode in made]
                path.write_text(json.dumps(found))
    rates = {name: (sum(each), len(each), wilson_interval(sum(each), len(each))) for name, each in found.items()}
    pairs = {name: asdict(paired_difference(found[name], found["refined"])) for name in POLICIES if name != "refined"}
    return {"success": rates, "refined against": pairs}


def seeds(first: int, count: int) -> range:
    """Of fresh episodes."""
    return range(FIRST + first, FIRST + first + count)


def psnr(drawn: Tensor, true: Tensor, where: Tensor) -> Tensor:
    """Of each row's picture, in dB; of some pixels."""
    square = (drawn.float() - true.float()).square().mean(-1)
    mean = (square * where).sum((1, 2)) / where.sum((1, 2)).clamp(min=1)
    return 10 * (255**2 / mean.clamp(min=6.5)).log10()


def main() -> None:
    """Record, imagine, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a run of gwm in Meta-World")
    parser.add_argument("--camera", default="corner4", help="a view that the run's data never had")
    parser.add_argument("--episodes", type=int, default=15)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--play", type=int, default=0, help="only play the run's policies, from so many starts")
    args = parser.parse_args()
    assert read_settings(args.run)["recipe"] == "gwm", "expected a run of gwm"
    args.out.mkdir(parents=True, exist_ok=True)
    if args.play:
        print(json.dumps(played(args.run, args.out, args.play), indent=1))
        return
    study = Study(args)
    rows = study.measured()
    (args.out / "gwm.json").write_text(json.dumps(rows, indent=1))
    print(json.dumps(rows, indent=1))
    study.film(args.out)


if __name__ == "__main__":
    np.random.seed(0)
    main()
