"""AdaWorld (arXiv 2503.18938): a world model that learned what actions are from video, adapted by few labels.

A latent-action autoencoder sees pairs of frames and says, in a few numbers that it pays for, what happened between
them. The world model learns to predict the next frame from past ones and these numbers, on all pictures of the data,
without reading an action. Then `labelled_steps` steps tell what the robot's own actions do: an adapter from those to
latent actions (a small network, or the mean latent action of each discrete action), then both learn a little further.

The paper plans in the adapted world model; here a policy is refined in it, with PPO as in our recipe of World4RL on
frames. That policy is cloned from the same labelled steps. So no action of the other episodes is read by anything that
learns: they serve as pictures, and their success, which is no action, is what the classifier learns from. Imagined
episodes begin where recorded ones began, because in their midst the past frames' actions would have to be known. (The
trust gate's back-test replays recorded actions. It judges, and nothing learns from it.)

Networks are small and convolutional in the place of a spatio-temporal transformer of 500 M weights and of Stable Video
Diffusion; `paper` has the published sizes as far as our networks go. Uncertainty is not measured, and nothing halts.
"""

from dataclasses import dataclass

from burnish.config import within
from burnish.errors import InputError
from burnish.evaluation.gate import GateConfig
from burnish.imagination import ImaginationConfig, PessimismConfig, StartConfig
from burnish.networks import AdapterConfig
from burnish.pipeline import Reading, stage
from burnish.policies import PicturePolicyConfig
from burnish.recipes.base import Models, Plan, RecipeConfig, RunSpec
from burnish.recipes.stages.cloning import Cloning
from burnish.recipes.stages.data import Recorded, sized, with_states
from burnish.recipes.stages.finish import Parts, finish
from burnish.recipes.stages.latent_actions import (
    adapt_world_model,
    choose_labelled,
    clone_labelled,
    train_latent_actions,
    train_on_latent_actions,
)
from burnish.recipes.stages.play import PlayConfig, play_or_own
from burnish.recipes.stages.refining import refine_policy
from burnish.recipes.stages.training import reward_of
from burnish.rewards import FrameClassifierConfig
from burnish.rl import PPOConfig, RefineConfig
from burnish.simulators.settings import SimulatorConfig
from burnish.training import TrainingConfig
from burnish.world_models import (
    LatentActionConfig,
    PixelDiffusionConfig,
    PixelHistoryConfig,
)

SIZE = 32


@dataclass(frozen=True)
class AdaWorld(RecipeConfig):
    """Every setting of the method."""

    simulator: SimulatorConfig = SimulatorConfig(
        action_repeat=5, max_steps=40, cameras=("corner3", "topview"), image_size=SIZE
    )
    """Frames far enough apart that an action shows in 32 pixels."""
    collect: PlayConfig = PlayConfig(demonstrations=10, demonstration_noise=0.1)
    labelled_steps: int = within(400, 1)
    """Steps whose actions are read, of demonstrations first; 100 for each dimension of the action."""
    labelled_demonstrations: int | None = within(None, 1)
    """At most so many of them are demonstrations; the other labels tell what else actions do. None: as many as fit."""
    latent_actions: LatentActionConfig = LatentActionConfig(cameras=("corner3", "topview"))
    latent_action_training: TrainingConfig = TrainingConfig(
        steps=3000, batch_size=32, learning_rate=2e-3, ema_decay=None
    )
    history: PixelHistoryConfig = PixelHistoryConfig(
        cameras=("corner3", "topview"), image_size=SIZE, frames=2, action_encoding="linear"
    )
    world_model: PixelDiffusionConfig = PixelDiffusionConfig(rollout_steps=1)
    world_model_training: TrainingConfig = TrainingConfig(
        steps=6000, batch_size=32, learning_rate=1e-3, weight_decay=1e-2
    )
    """On video, with latent actions."""
    adapter: AdapterConfig = AdapterConfig()
    adapter_training: TrainingConfig = TrainingConfig(steps=1000, batch_size=64, learning_rate=3e-3, ema_decay=None)
    """Of the small network from actions to latent ones; a codebook needs none."""
    adaptation: TrainingConfig = TrainingConfig(steps=800, batch_size=32, learning_rate=2e-4, weight_decay=1e-2)
    """Of world model and adapter together, on the labelled steps."""
    policy: PicturePolicyConfig = PicturePolicyConfig(
        channels=6, image_size=SIZE, widths=(16, 32, 32, 64), embedding=128, hidden=(128,), shift=2
    )
    pretraining: TrainingConfig = TrainingConfig(steps=1500, batch_size=128, ema_decay=None, weight_decay=1e-3)
    classifier: FrameClassifierConfig = FrameClassifierConfig(
        channels=6, image_size=SIZE, imagined_share=0.0, hard_share=0.5, shift=2
    )
    """Without imagined frames: those come with actions."""
    classifier_training: TrainingConfig = TrainingConfig(steps=1500, batch_size=128, ema_decay=None, weight_decay=1e-3)
    imagination: ImaginationConfig = ImaginationConfig(
        num_envs=64, starts=StartConfig(episode_start_share=1.0), pessimism=PessimismConfig("none")
    )
    learner: PPOConfig = PPOConfig(minibatch_size=256)
    refine: RefineConfig = RefineConfig(imagined_episodes=64, margin=0.02, average=0.9, patience=4)
    gate: GateConfig = GateConfig(worlds=2, training_share=0.5)

    def __post_init__(self) -> None:
        self.imagination.pessimism.check(())
        seen, latent = self.history, self.latent_actions
        if (seen.cameras, seen.image_size) != (latent.cameras, latent.image_size):
            raise InputError(
                f"config.latent_actions sees {', '.join(latent.cameras)} in {latent.image_size} pixels, config.history "
                f"{', '.join(seen.cameras)} in {seen.image_size}; expected the same"
            )
        if seen.action_encoding != "linear":
            raise InputError(f"config.history.action_encoding is '{seen.action_encoding}', expected linear: an adapter")
        if self.imagination.starts.episode_start_share < 1:
            raise InputError("config.imagination.starts.episode_start_share: expected 1, see the recipe")
        if self.classifier.imagined_share > 0:
            raise InputError("config.classifier.imagined_share: expected 0, imagined frames come with actions")

    @property
    def cameras(self) -> tuple[str, ...]:
        """Whose pictures everything looks at."""
        return self.history.cameras


def recipe(c: AdaWorld, run: RunSpec) -> Plan:
    """The method in its order."""
    data = play_or_own(c, run, c.history.image_size)
    recorded = Recorded(data, c.cameras, states=False, reward=c.reward)
    split = recorded.split(c.held_out)
    # Latent actions, a world model on them, and the robot's actions in their place.
    imagined = models(c, split, run.seed)
    # A policy from the same labels, and PPO in the adapted world.
    how = Cloning(sized(c.policy, c.history), c.pretraining, noise=0.0, best_share=c.reward.best_share)
    settings = {"history": c.history, "how": how, "seed": run.seed, "task": run.task}
    policy = stage(clone_labelled, "policy", labelled=labels(c, split, run.seed), **settings)
    settings = {"imagination": c.imagination, "learner": c.learner, "refinement": c.refine, "seed": run.seed}
    refined = stage(refine_policy, "refined", policy=policy, data=recorded.whole, models=imagined, **settings)

    def held_out(config: AdaWorld, fold: Reading, seed: int) -> Models:
        return models(config, fold, seed, fewer=True)

    return finish(run, c, held_out, Parts(data, recorded, policy, imagined, refined))


def labels(c: AdaWorld, data: Reading, seed: int, fewer: bool = False) -> Reading:
    """The steps of `data` whose actions are read; all that are there, where `fewer` than asked for will do."""
    settings = {
        "steps": c.labelled_steps,
        "demonstrations": c.labelled_demonstrations,
        "fewer": fewer,
        "adapter": c.adapter,
        "history": c.history,
        "model": c.world_model,
    }
    chosen = stage(choose_labelled, "labelled", data=with_states(data), **settings, seed=seed)
    return Recorded(chosen, c.cameras, states=False, reward=c.reward).whole


def models(c: AdaWorld, data: Reading, seed: int, fewer: bool = False) -> Models:
    """Pretrained on the pictures of `data`, adapted by some of its steps; the gate asks for it on other episodes."""
    known = labels(c, data, seed, fewer)
    settings = {"model": c.latent_actions, "training": c.latent_action_training, "seed": seed}
    latent = stage(train_latent_actions, "latent_actions", data=data, **settings)
    settings = {"history": c.history, "model": c.world_model, "training": c.world_model_training, "seed": seed}
    video = stage(train_on_latent_actions, "video_model", data=data, latent=latent, **settings)
    settings = {"adapter": c.adapter, "adapter_training": c.adapter_training, "training": c.adaptation}
    world = stage(adapt_world_model, "world_model", labelled=known, world=video, latent=latent, **settings, seed=seed)
    return Models(world, reward_of(c, data, world, sized(c.classifier, c.history), seed))
