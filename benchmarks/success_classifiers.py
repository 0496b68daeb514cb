"""DiWA's latent success classifier beside one on pixels, trained and tested on the same frames.

    python benchmarks/success_classifiers.py RUN … [--episodes 160] [--steps 800]

Each RUN is a finished run folder of the recipe `diwa` on a simulator. The frames of a share of its episodes are drawn
again (the simulator repeats an episode from its seed, bit for bit) at 64 × 64 pixels. On the training episodes a
convolutional network learns success from pixels with cross-entropy and random shifts; a latent classifier of the
run's own settings learns from the world model's features of the same frames. Both are judged at probability 0.5, as
in the paper, on the same held-out episodes; the run's own calibrated classifier (with imagined latents, on all
episodes) is given beside them. Writes benchmarks/results/success_classifiers.md.
"""

import argparse
import itertools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from burnish.components import frozen, load
from burnish.data import Dataset, read_dataset
from burnish.evaluation.filming import film
from burnish.networks import MLP
from burnish.recipes.runs import reopen
from burnish.recipes.stages.training import recorded_features
from burnish.rewards import BalancedFrames, ContrastiveClassifier
from burnish.simulators.settings import SimulatorConfig
from burnish.training import TrainingConfig, fit
from burnish.world_models import RSSM

RESULTS = Path(__file__).parent / "results"


def to_signed(images: Tensor) -> Tensor:
    """uint8 (…, 64, 64, 3) as floats in [-1, 1], channels first."""
    return images.movedim(-1, -3).to(torch.float32) / 127.5 - 1


class PixelClassifier(nn.Module):
    """Four convolutions and an MLP; images (B, 64, 64, 3) uint8."""

    def __init__(self, depth: int = 24) -> None:
        super().__init__()
        channels = (3, depth, 2 * depth, 4 * depth, 8 * depth)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(channels):
            layers += [nn.Conv2d(before, after, 4, stride=2), nn.ELU()]
        self.encoder = nn.Sequential(*layers, nn.Flatten())
        self.head = MLP(32 * depth, (256,), 1)

    def probability(self, images: Tensor) -> Tensor:
        """Probability that the picture shows success."""
        return torch.cat([self._logits(rows).sigmoid() for rows in images.split(512)])

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy on randomly shifted pictures (by up to four pixels, edges repeated)."""
        images, success = batch
        signed = nn.functional.pad(to_signed(images), (4, 4, 4, 4), mode="replicate")
        x, y = np.random.default_rng(int(torch.randint(2**31, ()))).integers(0, 9, 2)
        logits = self.head(self.encoder(signed[:, :, y : y + 64, x : x + 64])).squeeze(-1)
        return nn.functional.binary_cross_entropy_with_logits(logits, success.float()), {}

    def _logits(self, images: Tensor) -> Tensor:
        return self.head(self.encoder(to_signed(images))).squeeze(-1)


def draw(dataset: Dataset, episodes: int, settings: SimulatorConfig, seed: int) -> tuple[Dataset, Tensor]:
    """Some episodes, half of them successful where there are so many, with their pictures (F, 64, 64, 3)."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(dataset.num_episodes, generator=generator)
    success = dataset.episode_success[order]
    half = order[success][: episodes // 2]
    chosen = dataset.subset(sorted([*half.tolist(), *order[~success][: episodes - len(half)].tolist()]))
    pictures = [film(episode, settings, 64) for episode in chosen.to_episodes()]
    return chosen, torch.from_numpy(np.concatenate(pictures))


def scores(probability: Tensor, success: Tensor, threshold: float = 0.5) -> dict[str, float]:
    """Precision and recall of `probability` >= `threshold`."""
    found = probability >= threshold
    hits = float((found & success).sum())
    return {
        "precision": hits / max(float(found.sum()), 1.0),
        "recall": hits / max(float(success.sum()), 1.0),
        "successes": int(success.sum()),
        "frames": len(success),
    }


def learn(model: nn.Module, inputs: Tensor, success: Tensor, config: TrainingConfig) -> None:
    """Train on balanced batches."""
    frames = BalancedFrames([(1.0, inputs, success)], 0.3, 1)
    with tempfile.TemporaryDirectory() as work:
        fit(model, frames, config, Path(work), seed=0)
    model.eval()


@torch.no_grad()
def judge(probability: Callable[[Tensor], Tensor], inputs: Tensor, success: Tensor, threshold: float) -> dict:
    """Scores on held-out frames."""
    return scores(probability(inputs), success, threshold)


def compare(folder: Path, episodes: int, steps: int) -> dict:
    """Both classifiers on one run's data."""
    run = reopen(folder)
    training, held_out = read_dataset(folder / "dataset").split(run.config.held_out, seed=0)
    settings = run.config.simulator
    world_model = frozen(load(folder / "world_model", RSSM))
    seen, pictures = draw(training, episodes, settings, seed=0)
    tested, tested_pictures = draw(held_out, held_out.num_episodes, settings, seed=0)
    config = TrainingConfig(steps=steps, batch_size=128, ema_decay=None, weight_decay=1e-3)
    torch.manual_seed(0)
    pixel = PixelClassifier()
    learn(pixel, pictures, seen.success, config)
    latent = ContrastiveClassifier(world_model.feature_dim, run.config.classifier)
    learn(latent, recorded_features(world_model, seen), seen.success, config)
    own = frozen(load(folder / "classifier", ContrastiveClassifier))
    features = recorded_features(world_model, tested)
    return {
        "task": run.run.task,
        "seed": run.run.seed,
        "pixel": judge(pixel.probability, tested_pictures, tested.success, 0.5),
        "latent": judge(latent.probability, features, tested.success, 0.5),
        "own": judge(own.probability, features, tested.success, float(own.threshold)),
    }


def main() -> None:
    """Compare on every run folder and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--episodes", type=int, default=160)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for folder in args.runs:
        rows.append(compare(folder, args.episodes, args.steps))
        print(json.dumps(rows[-1]), flush=True)
    lines = [
        "# Success classifiers: latents beside pixels",
        "",
        f"`python benchmarks/success_classifiers.py RUN … --episodes {args.episodes} --steps {args.steps}`:",
        "precision / recall on the frames of held-out episodes; the paper (CALVIN) has .89 / .98 from latents and",
        ".41 / .98 from pixels.",
        "",
        "| task | seed | held-out frames (successes) | pixels | latents, same frames | the run's own, calibrated |",
        "|---|---|---|---|---|---|",
    ]
    for r in rows:
        cells = [f"{r[k]['precision']:.2f} / {r[k]['recall']:.2f}" for k in ("pixel", "latent", "own")]
        count = f"{r['pixel']['frames']:,} ({r['pixel']['successes']})"
        lines.append(f"| {r['task']} | {r['seed']} | {count} | {' | '.join(cells)} |")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "success_classifiers.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
