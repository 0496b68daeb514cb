"""Speed of the pixel world model by backbone and preset, and beside DIAMOND's own code on the same machine.

    python benchmarks/pixel_throughput.py [--diamond PATH] [--compile] [--batch 32] [--threads 1] [--budget 20]

An imagined step is one predicted frame (64×64, 4 past frames, 3 Euler steps, so 3 network calls). PATH is a checkout
of github.com/eloialonso/diamond; its sampler and denoiser (the Atari sizes) run as they are, in the same process and by
turns with ours of the same sizes. Each of our rows adds one change to the row above, and is compared with a float32
run of the same weights. With one thread times are CPU seconds, the best of a few calls, so that other work on the
machine disturbs little. Presets run with a smaller batch on a CPU, where only a few rows go through the network at
once anyway; those that would need more than `--budget` seconds are predicted from their FLOPs and the
rate of the largest preset that was measured. Writes benchmarks/results/pixel_throughput.md.
"""

import argparse
import dataclasses
import importlib
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from burnish.data import WindowBatch, image_key
from burnish.networks import DIT_PRESETS, UNET_PRESETS, DiT, UNet
from burnish.world_models import (
    PixelDiffusion,
    PixelDiffusionConfig,
    PixelHistory,
    PixelHistoryConfig,
    PixelHistoryState,
    SpeedConfig,
)
from burnish.world_models.pixel_diffusion import build_network
from burnish.world_models.pixel_speed import FrozenNetwork

RESULTS = Path(__file__).parent / "results"
SIZE, FRAMES, ACTION_DIM, STEPS = 64, 4, 4, 3
HISTORY = PixelHistoryConfig(("camera",), SIZE, FRAMES)
FAST = SpeedConfig(precision="bfloat16")
CHANGES = {
    "float32, past embedded once per frame": SpeedConfig(channels_last=False, rows=10**6),
    "+ channels last": SpeedConfig(rows=10**6),
    "+ as many rows at once as the caches take": SpeedConfig(),
    "+ bfloat16": FAST,
}


def best_seconds(calls: list[Callable[[], object]], clock: Callable[[], float], repetitions: int) -> list[float]:
    """The least seconds of each call, after one call to warm up; the calls take turns."""
    times: list[list[float]] = [[] for _ in calls]
    for repetition in range(repetitions + 1):
        for call, own in zip(calls, times, strict=True):
            start = clock()
            call()
            if repetition:
                own.append(clock() - start)
    return [min(own) for own in times]


def diamond_sampler(path: Path, batch: int, compiled: bool, device: str) -> Callable[[], object]:
    """One imagined step of DIAMOND's own code, Atari sizes."""
    root = path / "src"
    # Its packages import the whole project (Hydra, ALE); the denoiser needs the names of two types only.
    stand_ins = {name: types.ModuleType(name) for name in ("models", "data", "utils")}
    stand_ins["models"].__path__ = [str(root / "models")]
    stand_ins["data"].Batch = object  # type: ignore[attr-defined]
    stand_ins["utils"].LossAndLogs = object  # type: ignore[attr-defined]
    sys.modules.update(stand_ins)
    diffusion = importlib.import_module("models.diffusion")
    sizes = {"img_channels": 3, "num_steps_conditioning": FRAMES, "cond_channels": 256, "num_actions": ACTION_DIM}
    levels = {"depths": [2] * 4, "channels": [64] * 4, "attn_depths": [0] * 4}
    inner = diffusion.InnerModelConfig(**sizes, **levels)
    denoiser = diffusion.Denoiser(diffusion.DenoiserConfig(inner, sigma_data=0.5, sigma_offset_noise=0.3)).eval()
    sampler = diffusion.DiffusionSampler(denoiser.to(device), diffusion.DiffusionSamplerConfig(STEPS))
    sample = torch.compile(sampler.sample, mode="reduce-overhead") if compiled else sampler.sample
    frames = torch.rand(batch, FRAMES, 3, SIZE, SIZE, device=device) * 2 - 1
    actions = torch.randint(ACTION_DIM, (batch, FRAMES), device=device)
    count = sum(parameter.numel() for parameter in denoiser.parameters())
    ours = build_network(PixelHistory(ACTION_DIM, HISTORY), PixelDiffusionConfig(preset="diamond"), 21 * ACTION_DIM)
    own = sum(parameter.numel() for parameter in ours.parameters()) - ours.condition.action.weight.numel()
    # The same sizes but for the table of actions, 64 wide.
    assert count - 64 * ACTION_DIM == own, (count, own)
    return lambda: sample(frames, actions)


def some_model(backbone: str, preset: str, device: str) -> PixelDiffusion:
    """A model with arbitrary weights (at birth its network outputs zero)."""
    torch.manual_seed(0)
    config = PixelDiffusionConfig(backbone=backbone, preset=preset, speed=FAST)  # type: ignore[arg-type]
    model = PixelDiffusion(PixelHistory(ACTION_DIM, HISTORY), config).to(device).eval().requires_grad_(False)
    for parameter in model.network.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
    return model


def with_speed(model: PixelDiffusion, speed: SpeedConfig) -> PixelDiffusion:
    """The same weights with other choices of speed."""
    twin = PixelDiffusion(model.history, dataclasses.replace(model.config, speed=speed))
    twin.network = model.network
    return twin.to(next(model.network.parameters()).device).eval()


class Joined(FrozenNetwork):
    """Embeds past frames and actions again at every denoising step, as a joined first layer does."""

    def embed(self, *inputs: Tensor) -> list[tuple[Tensor, ...]]:  # type: ignore[override]
        """Keep the inputs."""
        return [inputs]

    def __call__(self, x: Tensor, c_noise: Tensor, pieces: list) -> Tensor:
        """Embed and call."""
        return super().__call__(x, c_noise, super().embed(*pieces[0]))


def some_state(batch: int, device: str) -> tuple[PixelHistoryState, Tensor]:
    """Random past frames and actions."""
    frames = torch.randint(256, (batch, FRAMES, 3, SIZE, SIZE), dtype=torch.uint8, device=device)
    past = torch.rand(batch, FRAMES, ACTION_DIM, device=device) * 2 - 1
    valid = torch.ones(batch, FRAMES, dtype=torch.bool, device=device)
    return PixelHistoryState(frames, past, valid), past[:, 0]


def changes(args: argparse.Namespace, clock: Callable[[], float]) -> list[str]:
    """The table of what each change brings, DIAMOND's code first where there is a checkout."""
    state, action = some_state(args.batch, args.device)
    base = some_model("unet", "diamond", args.device)
    speeds = {"float32, plain": next(iter(CHANGES.values())), **CHANGES}
    if args.compile:
        speeds["+ compiled"] = dataclasses.replace(FAST, compile=True)
    models = {name: with_speed(base, speed) for name, speed in speeds.items()}
    models["float32, plain"]._frozen = Joined(base.network, speeds["float32, plain"])

    def imagine(model: PixelDiffusion) -> Tensor:
        generator = torch.Generator(args.device).manual_seed(0)
        return model.imagine(state, action, generator).frames[:, -1]

    calls: dict[str, Callable[[], object]] = {}
    if args.diamond:
        calls["DIAMOND's code"] = diamond_sampler(args.diamond, args.batch, False, args.device)
        if args.compiled_only:
            calls.clear()
        if args.compile:
            calls["DIAMOND's code, compiled"] = diamond_sampler(args.diamond, args.batch, True, args.device)
    for name, model in list(models.items())[-2 if args.compiled_only else 0 :]:
        calls[name] = lambda model=model: imagine(model)
    seconds = dict(zip(calls, best_seconds(list(calls.values()), clock, args.repetitions), strict=True))
    reference, first = imagine(models["float32, plain"]).float(), next(iter(seconds.values()))
    lines = [
        "| U-Net `diamond`, 4.4 M | imagined steps/s | against the first row | difference from float32, grey levels of "
        "255: root mean square, largest |",
        "|---|---|---|---|",
    ]
    for name, spent in seconds.items():
        difference = "–"
        if name in models:
            error = imagine(models[name]).float() - reference
            difference = f"{error.square().mean().sqrt():.3f}, {error.abs().max():.0f}"
        lines.append(f"| {name} | {args.batch / spent:.2f} | {first / spent:.2f}× | {difference} |")
        print(lines[-1], flush=True)
    return lines


def cost(backbone: str, preset: str) -> tuple[int, float]:
    """Parameters, and FLOPs (two per multiply-add) of one imagined step."""
    config = PixelDiffusionConfig(backbone=backbone, preset=preset)  # type: ignore[arg-type]
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network: UNet | DiT = build_network(PixelHistory(ACTION_DIM, HISTORY), config, 21 * ACTION_DIM)
        level = torch.zeros(1)
        context = torch.zeros(1, FRAMES * 3, SIZE, SIZE)
        embedding = network.embed(context, torch.zeros(1, FRAMES, ACTION_DIM * 21 + 1), level)
        for _ in range(STEPS):
            network(torch.zeros(1, 3, SIZE, SIZE), level, embedding)
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops()


def presets(args: argparse.Namespace, clock: Callable[[], float]) -> list[str]:
    """The table of all presets, smallest first."""
    lines = [
        "| backbone | preset | parameters | GFLOP per imagined step | imagined steps/s |",
        "|---|---|---|---|---|",
    ]
    batch = args.preset_batch or (args.batch if args.device == "cuda" else min(args.batch, 8))
    state, action = some_state(batch, args.device)
    for backbone, names in (("unet", UNET_PRESETS), ("dit", DIT_PRESETS)):
        rate = 0.0
        for preset in names:
            parameters, flops = cost(backbone, preset)
            # Twice: to warm up, and to measure.
            if rate and 2 * batch * flops / rate > args.budget:
                speed = f"{rate / flops:.2g} (predicted)"
            else:
                model = some_model(backbone, preset, args.device)
                imagine = lambda model=model: model.imagine(state, action, None)  # noqa: E731
                seconds = best_seconds([imagine], clock, 1)[0] / batch
                rate, speed = flops / seconds, f"{1 / seconds:.2f}"
            lines.append(f"| {backbone} | {preset} | {parameters:,} | {flops / 1e9:,.1f} | {speed} |")
            print(lines[-1], flush=True)
    return lines


def training(args: argparse.Namespace, clock: Callable[[], float]) -> list[str]:
    """The table of training: whole steps (loss of two frames a window, backward, AdamW), bfloat16 autocast."""
    lines = ["| U-Net | training, windows/s | compiled | against not compiled |", "|---|---|---|---|"]
    batch = some_windows(args.train_batch, args.device)
    for preset in args.train_presets:
        model = some_model("unet", preset, args.device).train().requires_grad_(True)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

        @torch.enable_grad()
        def step(model: PixelDiffusion = model, optimizer: torch.optim.Optimizer = optimizer) -> None:
            optimizer.zero_grad(set_to_none=True)
            model.loss(batch)[0].backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

        rates = [args.train_batch / best_seconds([step], clock, args.repetitions)[0]]
        if args.compile:
            model.network.compile(dynamic=False)
            rates.append(args.train_batch / best_seconds([step], clock, args.repetitions)[0])
        compiled = f"{rates[1]:.1f} | {rates[1] / rates[0]:.2f}×" if args.compile else "– | –"
        lines.append(f"| {preset} | {rates[0]:.1f} | {compiled} |")
        print(lines[-1], flush=True)
    return lines


def some_windows(rows: int, device: str) -> WindowBatch:
    """Random windows of FRAMES past and two following frames."""
    length = FRAMES + 2
    pictures = torch.randint(256, (rows, length, SIZE, SIZE, 3), dtype=torch.uint8, device=device)
    action = torch.rand(rows, length, ACTION_DIM, device=device) * 2 - 1
    valid = torch.ones(rows, length, dtype=torch.bool, device=device)
    return WindowBatch({image_key("camera"): pictures}, action, torch.zeros_like(valid), valid)


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--diamond", type=Path)
    parser.add_argument("--compile", action="store_true", help="also measure compiled networks (minutes)")
    parser.add_argument(
        "--compiled-only", action="store_true", help="with --compile: both compiled and our last row before; no file"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--preset-batch", type=int, help="of the second table; default 8 on a CPU")
    parser.add_argument("--train-presets", nargs="*", default=[], choices=list(UNET_PRESETS), help="also train these")
    parser.add_argument("--train-batch", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--budget", type=float, default=20.0, help="seconds per preset")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clock = time.process_time if args.device == "cpu" and args.threads == 1 else time.perf_counter
    if args.device == "cuda":

        def clock() -> float:
            torch.cuda.synchronize()
            return time.perf_counter()

    if args.compiled_only:
        changes(args, clock)
        return
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    where = torch.cuda.get_device_name() if args.device == "cuda" else f"{args.threads} CPU thread(s)"
    options = f"--batch {args.batch} --threads {args.threads} --budget {args.budget:g} --device {args.device}"
    options += " --diamond PATH" if args.diamond else ""
    options += " --compile" if args.compile else ""
    if args.train_presets:
        options += f" --train-presets {' '.join(args.train_presets)} --train-batch {args.train_batch}"
    lines = [
        "# Pixel world model: speed",
        "",
        f"`python benchmarks/pixel_throughput.py {options}`, commit {commit}, torch {torch.__version__}, {where}; "
        f"{args.batch} environments at once, {SIZE}×{SIZE}, {FRAMES} past frames, {STEPS} Euler steps.",
        "",
        *changes(args, clock),
        "",
        "All presets, with everything but compilation:",
        "",
        *presets(args, clock),
    ]
    if args.train_presets:
        lines += ["", f"Training on {args.train_batch} windows a step:", "", *training(args, clock)]
    RESULTS.mkdir(exist_ok=True)
    suffix = "" if args.device == "cpu" else f"_{args.device}"
    (RESULTS / f"pixel_throughput{suffix}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    with torch.no_grad():
        main()
