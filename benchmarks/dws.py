"""What few labelled steps teach a model of video about actions: DWS's modules, beside what is cheaper.

    python benchmarks/video_set.py --tasks drawer-open-v3 reach-v3 door-open-v3 --frames 9000 --size 32 --out runs/video
    python -m benchmarks.dws --video runs/video --camera corner3 --out runs/dws

One model of video learns from the set's pictures without actions. Then, of the same labelled steps and as many
training steps each: DWS's modules on the model of video, which learns along; the same with the model of video frozen,
with the motion-weighted loss and without it; the same modules on a network that saw no video (`modules from scratch`);
and the plain world model, which hears actions from the start (`world model from scratch`). `no modules` is the model of
video itself. Measured on episodes that none of them saw: the share of windows whose imagined future is nearer to their
own recorded one under their own actions than under another window's (½ where actions are ignored), and the PSNR of
moving pixels beside holding the present frame.

Resumable; writes OUT/dws.json and pictures (recorded, then each model's imagination, under each other).
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from burnish.components import load, save
from burnish.data import Dataset, Windows, image_key, is_image_key, labelled_steps, read_dataset, unlabelled_video
from burnish.evaluation.action_following import action_following
from burnish.evaluation.fidelity import picture_fidelity
from burnish.evaluation.imagined_pictures import actions_after, draw_windows, imagine_pictures, states_at
from burnish.networks import ActionModulesConfig
from burnish.training import TrainingConfig, fit
from burnish.world_models import PixelDiffusion, PixelDiffusionConfig, PixelHistory, PixelHistoryConfig, SamplerConfig

HORIZON = 8
MODEL = PixelDiffusionConfig(preset="xs", sampler=SamplerConfig(steps=3, sigma_min=2e-3))
ALONG, FROZEN = ActionModulesConfig(), ActionModulesConfig(train_base=False)
ADAPTED = replace(MODEL, modules=ALONG, motion_weight=1.0)


def trained(model: PixelDiffusion, data: Dataset, args: argparse.Namespace, steps: int, folder: Path) -> PixelDiffusion:
    """The model after so many steps on the data; resumable."""
    if (folder / "model").exists():
        return load(folder / "model", PixelDiffusion)
    config = TrainingConfig(
        steps=steps, batch_size=args.batch_size, learning_rate=args.learning_rate, weight_decay=1e-2, ema_decay=0.99
    )
    windows = Windows(data, model.history.config.frames, model.config.rollout_steps)
    began = time.monotonic()

    def say(step: int, metrics: dict[str, float]) -> None:
        print(
            f"{folder.name}: {step}/{steps}, loss {metrics['loss']:.4f}, {time.monotonic() - began:.0f} s", flush=True
        )

    fit(model, windows, config, folder / "training", args.seed, on_step=say)
    save(folder / "model", model)
    return model


def arms(
    video: PixelDiffusion, labelled: Dataset, history: PixelHistoryConfig, seed: int
) -> dict[str, Callable[[], PixelDiffusion]]:
    """What learns from the labelled steps, by its name."""

    def own() -> PixelHistory:
        torch.manual_seed(seed)
        return PixelHistory(labelled.action_dim, history)

    def after(**settings: Any) -> PixelDiffusion:
        return PixelDiffusion.following_actions(video, own(), replace(ADAPTED, **settings)).fit(labelled)

    def alone(**settings: Any) -> PixelDiffusion:
        return PixelDiffusion(own(), replace(ADAPTED, **settings)).fit(labelled)

    return {
        "dws": after,
        "dws, the network of video frozen": lambda: after(modules=FROZEN),
        "dws, frozen, without the motion loss": lambda: after(modules=FROZEN, motion_weight=0.0),
        "modules from scratch": alone,
        "world model from scratch": lambda: alone(modules=None),
    }


def measured(model: PixelDiffusion, held_out: Dataset, camera: str, limit: int) -> dict[str, Any]:
    """Controllability and the PSNR of moving pixels at the last of HORIZON frames."""
    followed = action_following(model, held_out, HORIZON, seed=0, camera=camera, limit=limit).summary()
    pictures = picture_fidelity(model, held_out, HORIZON, seed=0, camera=camera, limit=limit // 2).summary()
    return {"action_following": followed, "pictures": pictures}


def filmstrip(models: dict[str, PixelDiffusion], held_out: Dataset, camera: str, path: Path) -> None:
    """A window: the recorded frames in the first row, each model's imagination below."""
    key, generator = image_key(camera), torch.Generator().manual_seed(3)
    present = draw_windows(held_out, HORIZON, 3, generator)
    frames = present[:, None] + torch.arange(HORIZON + 1)
    pictures = held_out.observations[key]
    for number in range(len(present)):
        one = present[number : number + 1]
        rows = [pictures[frames[number]]]
        for model in models.values():
            actions = actions_after(held_out, one, HORIZON, 1)
            state = states_at(model, held_out, one)
            generator.manual_seed(5)
            imagined = imagine_pictures(model, state, actions, key, generator)[0]
            rows.append(torch.cat([pictures[one], imagined[-HORIZON:]]))
        strip = torch.cat([torch.cat(list(row), dim=1) for row in rows], dim=0)
        large = strip.repeat_interleave(3, 0).repeat_interleave(3, 1)
        Image.fromarray(large.numpy()).save(path.with_name(f"{path.stem}-{number}.png"))


def main() -> None:
    """Train what is not there yet, measure it, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, required=True, help="a set of benchmarks/video_set.py")
    parser.add_argument("--camera", default="corner3")
    parser.add_argument("--labelled", type=int, default=400, help="steps with actions: a hundred for each dimension")
    parser.add_argument("--video-steps", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--windows", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    data = read_dataset(args.video, cameras=(args.camera,))
    data = replace(data, observations={key: each for key, each in data.observations.items() if is_image_key(key)})
    episodes, held_out = data.split(0.2, seed=0)
    history = PixelHistoryConfig((args.camera,), data.observations[image_key(args.camera)].shape[1], frames=2)
    torch.manual_seed(args.seed)
    silent = unlabelled_video(episodes)
    video = trained(PixelDiffusion(PixelHistory(0, history), MODEL), silent, args, args.video_steps, args.out / "video")
    labelled = labelled_steps(episodes, args.labelled, args.seed)
    models = {}
    for number, (name, make) in enumerate(arms(video, labelled, history, args.seed).items()):
        models[name] = trained(make(), labelled, args, args.steps, args.out / f"arm_{number}").eval()
    path = args.out / "dws.json"
    rows = json.loads(path.read_text()) if path.exists() else {}
    untouched = PixelDiffusion.following_actions(video, PixelHistory(data.action_dim, history), ADAPTED).eval()
    for name, model in {"no modules": untouched, **models}.items():
        if name not in rows:
            rows[name] = measured(model, held_out, args.camera, args.windows)
            path.write_text(json.dumps(rows, indent=1))
            print(name, json.dumps(rows[name])[:600], flush=True)
    filmstrip({"no modules": untouched, **models}, held_out, args.camera, args.out / "filmstrip.png")


if __name__ == "__main__":
    main()
