"""World4RL (arXiv 2509.19080) in its published form, frames in and frames imagined, read like its method section.

Three networks learn, separately, from recorded pictures: a behaviour-cloned policy, a diffusion model of the next frame
and a ResNet that tells success.  They are frozen, and PPO refines the policy inside the frames that they imagine.  As
published, imagination is not halted: there is no ensemble here, and no distance to the data.  Nothing sees a state
vector.  `world4rl.py` is the same method on states, and with these safeguards.
"""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from burnish.data import Dataset, is_image_key, read_dataset, require_successes
from burnish.errors import InputError
from burnish.evaluation.agent import Agent, load_agent, save_agent
from burnish.evaluation.settings import SimulatorConfig
from burnish.pipeline import StageContext
from burnish.policies import PicturePolicy
from burnish.recipes.device import CPU, windows_for
from burnish.recipes.evaluating import measure_failures, measure_pictures, measure_policies, simulator_steps
from burnish.recipes.own_data import OwnData, copy_own_data
from burnish.recipes.parts import (
    Imagination,
    clone,
    cloned_episodes,
    recorded_features,
    refine_in_imagination,
    train_classifier,
    with_report,
)
from burnish.recipes.steps import Step
from burnish.recipes.world4rl import collect_demonstrations, collect_rollouts
from burnish.recipes.world4rl_frames_config import World4RLFramesConfig
from burnish.report.section import save_sections
from burnish.report.sections_models import world_model_section
from burnish.rewards import FrameClassifier
from burnish.training import TrainingConfig, fit
from burnish.world_models import PixelDiffusion, PixelDiffusionConfig, PixelHistory, PixelHistoryConfig, SpeedConfig

if TYPE_CHECKING:  # a run on somebody's own data imports no simulator
    from burnish.recipes.recording import Recorder

ELSEWHERE = "world_model_from"
"""Name of the input that is a world model trained elsewhere."""
_WORLD_MODEL_FILES = ("config.json", "metrics.jsonl", "model.safetensors")

NO_STATES = "The models of this run read pictures alone, so there is no state vector whose error could be measured."
NO_ENSEMBLE = "There is no ensemble: as published, imagination is not halted."


def external_inputs(config: World4RLFramesConfig) -> dict[str, Path]:
    """Folders from outside that a run reads, by the names of stages' inputs."""
    return {ELSEWHERE: Path(config.world_model_from).absolute()} if config.world_model_from else {}


def steps(
    config: World4RLFramesConfig,
    task: str,
    seed: int,
    recorder: "Recorder | None" = None,
    own: OwnData | None = None,
    device: torch.device = CPU,
) -> list[Step]:
    """The method in its order: every stage, what of the configuration it depends on, and what it reads.

    Data come from the simulator of `recorder`, or from `own`.  Models and data live on `device`; the simulator's
    policies on the CPU.
    """
    c = config
    cameras = c.history.cameras

    def data(stage: StageContext, source: str = "dataset") -> Dataset:
        return frames_of(stage.inputs[source], cameras).to(device)

    def training_frames(stage: StageContext) -> Dataset:
        return frames_of(stage.inputs["dataset"], cameras).split(c.held_out, seed=0)[0]

    def agent(stage: StageContext) -> Agent:
        return load_agent(stage.inputs["policy"], task).to(device)

    def world_model(stage: StageContext, speed: SpeedConfig = c.world_model.speed) -> PixelDiffusion:
        return load_world_model(stage.inputs["world_model"], speed, device)

    # Batches of many sizes, each of which would be compiled for a minute.
    uncompiled = replace(c.world_model.speed, compile=False)

    def classifier(stage: StageContext) -> FrameClassifier:
        return FrameClassifier.load(stage.inputs["classifier"]).to(device)

    cloning = {"history": c.history, "policy": c.policy, "training": c.pretraining, "seed": seed, "task": task}
    learning = {"held_out": c.held_out, "history": c.history, "seed": seed}
    if recorder is not None:
        check_cameras(c.simulator, c.history)
        real = {"simulator": c.simulator, "collect": c.collect, "task": task, "seed": seed}
        recorded = [
            Step("demonstrations", real, (), lambda s: collect_demonstrations(c.collect, recorder, s), alone=True),
            Step(
                "policy", cloning, ("demonstrations",), lambda s: pretrain(c, task, seed, data(s, "demonstrations"), s)
            ),
            Step(
                "dataset",
                real,
                ("demonstrations", "policy"),
                lambda s: collect_rollouts(c.collect, recorder, s),
                alone=True,
            ),
        ]
    else:
        assert own is not None
        recorded = [
            Step(
                "dataset",
                {"own_data": own.rule, "task": task},
                own.inputs(cameras),
                lambda s: copy_own_data(own, task, cameras, s),
                alone=True,
            ),
            Step("policy", cloning, ("dataset",), lambda s: pretrain(c, task, seed, data(s), s)),
        ]
    if c.world_model_from is None:
        transition = Step(
            "world_model",
            {**learning, "model": c.world_model, "training": c.world_model_training},
            ("dataset",),
            lambda s: train_world_model(
                c.history, c.world_model, c.world_model_training, seed, training_frames(s), device, s
            ),
        )
    else:
        transition = Step(
            "world_model",
            {"history": c.history},
            ("dataset", ELSEWHERE),
            lambda s: take_over_world_model(s.inputs[ELSEWHERE], c.history, data(s), s.folder),
            alone=True,
        )
    return with_report(
        [
            *recorded,
            transition,
            Step(
                "classifier",
                {**learning, "model": c.classifier, "training": c.classifier_training},
                ("dataset", "world_model"),
                lambda s: train_success_classifier(c, seed, data(s), world_model(s, uncompiled), s),
            ),
            Step(
                "refined",
                {
                    "starts": c.starts,
                    "imagination": c.imagination,
                    "ppo": c.ppo,
                    "refine": c.refine,
                    "imagined_episodes": c.evaluation.imagined_episodes,
                    "seed": seed,
                },
                ("dataset", "policy", "world_model", "classifier"),
                lambda s: refine_policy(c, task, seed, data(s), agent(s), world_model(s), classifier(s), s),
            ),
            Step(
                "evaluation",
                {
                    "simulator": c.simulator,
                    "evaluation": c.evaluation,
                    "held_out": c.held_out,
                    "windows": c.fidelity_windows,
                    "seed": seed,
                },
                ("dataset", "policy", "world_model", "classifier", "refined"),
                lambda s: evaluate(c, task, seed, recorder, data(s), world_model(s, uncompiled), classifier(s), s),
                alone=True,
            ),
        ]
    )


# ---------------------------------------------------------------------------------------------------------------------
# 1. Data: D_exp, D_random, and later D_rollout (section III-A), recorded as in `world4rl.py`; here only the pictures.


def frames_of(folder: Path, cameras: tuple[str, ...]) -> Dataset:
    """A recorded data set without its state vectors."""
    dataset = read_dataset(folder, cameras=cameras)
    pictures = {key: values for key, values in dataset.observations.items() if is_image_key(key)}
    return replace(dataset, observations=pictures)


def check_cameras(simulator: SimulatorConfig, history: PixelHistoryConfig) -> None:
    """Raises InputError where the simulator does not record what the models look at."""
    missing = [name for name in history.cameras if name not in simulator.cameras]
    if missing or simulator.image_size != history.image_size:
        raise InputError(
            f"the models look at {', '.join(history.cameras)} in {history.image_size} pixels, the simulator records "
            f"{', '.join(simulator.cameras) or 'no camera'} in {simulator.image_size}; set config.simulator.cameras "
            "and config.simulator.image_size to config.history's"
        )


# ---------------------------------------------------------------------------------------------------------------------
# 2. The policy π_ξ, by behaviour cloning (Eqs. 1–2).


def pretrain(config: World4RLFramesConfig, task: str, seed: int, demonstrations: Dataset, stage: StageContext) -> None:
    """Negative log-likelihood of the demonstrated actions, given the present frame under random shifts."""
    device = demonstrations.device
    observer = PixelHistory(demonstrations.action_dim, config.history).to(device)
    torch.manual_seed(seed)
    architecture = replace(config.policy, **config.pictures)
    policy = PicturePolicy(observer.feature_dim, demonstrations.action_dim, architecture).to(device)
    chosen = cloned_episodes(demonstrations)
    clone(policy, [recorded_features(observer, chosen)], chosen, 0.0, config.pretraining, seed, stage)
    save_agent(stage.folder, Agent(observer, policy).eval(), task)


# ---------------------------------------------------------------------------------------------------------------------
# 3. The transition model D_θ (Eqs. 4–7).


def train_world_model(
    history: PixelHistoryConfig,
    config: PixelDiffusionConfig,
    training: TrainingConfig,
    seed: int,
    dataset: Dataset,
    device: torch.device,
    stage: StageContext,
) -> None:
    """EDM-preconditioned diffusion over the next frame, given H frames and two-hot actions."""
    torch.manual_seed(seed)
    world_model = PixelDiffusion(PixelHistory(dataset.action_dim, history), config).fit(dataset).to(device)
    windows = windows_for(dataset, history.frames, config.rollout_steps, device)
    with stage.progress(training.steps, "steps") as bar:
        fit(world_model, windows, training, stage.folder, seed, on_step=bar.at)
    world_model.save(stage.folder)


def take_over_world_model(source: Path, history: PixelHistoryConfig, dataset: Dataset, folder: Path) -> None:
    """Copy a frozen world model that was trained elsewhere.

    Raises:
        InputError: it is none, or it was made for other pictures or actions than this run's.
    """
    found = PixelDiffusion.load(source).check(dataset).history
    if found.config != history:
        raise InputError(f"{source}: this world model sees {found.config}, expected config.history, {history}")
    for name in _WORLD_MODEL_FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)


def load_world_model(folder: Path, speed: SpeedConfig, device: torch.device) -> PixelDiffusion:
    """A finished world model on `device`; how fast it is, this run says."""
    world_model = PixelDiffusion.load(folder)
    world_model.config = replace(world_model.config, speed=speed)
    return world_model.to(device)


# ---------------------------------------------------------------------------------------------------------------------
# 4. The reward r_t = C_ψ(x_{t+1}): a binary success classifier on frames.


def train_success_classifier(
    config: World4RLFramesConfig, seed: int, dataset: Dataset, world_model: PixelDiffusion, stage: StageContext
) -> None:
    """A ResNet with binary cross-entropy on recorded frames; its threshold is calibrated on held-out episodes."""
    require_successes(dataset)
    training, held_out = dataset.split(config.held_out, seed=0)
    torch.manual_seed(seed + 2)
    classifier = FrameClassifier(world_model.feature_dim, replace(config.classifier, **config.pictures))
    classifier = classifier.to(dataset.device)
    train_classifier(classifier, world_model, training, held_out, config.classifier_training, seed, stage)


# ---------------------------------------------------------------------------------------------------------------------
# 5. Refinement: PPO inside the frozen world model (Eqs. 8–9), without any interaction.


def refine_policy(
    config: World4RLFramesConfig,
    task: str,
    seed: int,
    dataset: Dataset,
    agent: Agent,
    world_model: PixelDiffusion,
    classifier: FrameClassifier,
    stage: StageContext,
) -> None:
    """Start frames from the data, actions from the policy, frames from the world model, reward from C_ψ."""
    imagination = Imagination(world_model, classifier, None, None, dataset, config.starts, config.imagination)
    judged = config.evaluation.imagined_episodes
    stage.record("device", dataset.device.type)
    refine_in_imagination(imagination, agent, task, config.ppo, config.refine, judged, seed, stage)


# ---------------------------------------------------------------------------------------------------------------------
# 6. Evaluation (section IV): the frames that were imagined, and success in the simulator.


def evaluate(
    config: World4RLFramesConfig,
    task: str,
    seed: int,
    recorder: "Recorder | None",
    dataset: Dataset,
    world_model: PixelDiffusion,
    classifier: FrameClassifier,
    stage: StageContext,
) -> None:
    """Fidelity of imagined pictures, of their following the actions, and of failures; then real success and videos."""
    before = simulator_steps()
    _, held_out = dataset.split(config.held_out, seed=0)
    sections = [
        measure_pictures(held_out, world_model, seed, stage.folder, config.fidelity_windows),
        measure_failures(held_out, world_model, classifier, seed, stage.folder, config.fidelity_windows),
        *measure_policies(config.evaluation, task, seed, recorder, world_model, stage),
        world_model_section(missing=(NO_STATES, NO_ENSEMBLE)),
    ]
    save_sections(stage.folder, sections)
    stage.record("role", "evaluation")
    stage.record("simulator_steps", simulator_steps() - before)
