"""World-Gymnast (arXiv 2602.02454): one policy for many instructions, refined by GRPO in a video world model.

A diffusion transformer with diffusion forcing imagines frame latents under actions; a policy of action tokens reads a
frame and a sentence, and decides on a chunk; a judge looks at the film of a whole imagined episode and says whether the
robot did what it was asked. From each start frame a group of episodes is imagined. What a member did better than its
group becomes likelier; groups that always or never succeed are left out.

The published system has Stable Diffusion's latents, a transformer of 16 layers, OpenVLA-OFT with 7 B weights, and five
votes of GPT-4o. Here latents are principal components of patches, the transformers are small and ours, and the judge by
default is a small network that learned from the data's own outcomes; votes and log-probabilities of a model behind an
endpoint are there for who has one (preset `votes`). Unlike there, a judge that fails to answer has not judged a
failure, and none is used that disagrees with recorded outcomes. Actions are those of the data, scaled by their range.

Beyond the paper: the choice among iterates, filtered cloning beside it, and the trust gate, whose worlds have video
judges of their own. Uncertainty is not measured, and nothing halts.
"""

from dataclasses import dataclass, replace

from burnish.config import within
from burnish.errors import InputError
from burnish.evaluation.gate import GateConfig
from burnish.imagination import ImaginationConfig, PessimismConfig, StartConfig
from burnish.pipeline import Reading, Stage, stage
from burnish.policies import TokenPolicyConfig
from burnish.recipes.base import Models, Plan, RecipeConfig, RunSpec
from burnish.recipes.stages.cloning import Cloning, starting
from burnish.recipes.stages.data import Instructed, check_cameras, own_data, sized
from burnish.recipes.stages.films import (
    AnyJudge,
    clone_instructed,
    fit_judge,
    reach_judge,
    record_tasks,
    train_forcing,
)
from burnish.recipes.stages.finish import Parts, finish
from burnish.recipes.stages.play import PlayConfig
from burnish.recipes.stages.refining import refine_policy
from burnish.rewards import VideoJudgeConfig
from burnish.rl import GRPOConfig, RefineConfig
from burnish.simulators.settings import SimulatorConfig
from burnish.training import TrainingConfig
from burnish.world_models import DiffusionForcingConfig, FilmConfig, PatchLatentsConfig

SIZE = 32
CAMERAS = ("corner3", "topview")


@dataclass(frozen=True)
class WorldGymnast(RecipeConfig):
    """Every setting of the method."""

    simulator: SimulatorConfig = SimulatorConfig(action_repeat=5, max_steps=40, cameras=CAMERAS, image_size=SIZE)
    """Frames far enough apart that an action shows in 32 pixels."""
    tasks: tuple[str, ...] = ()
    """Further tasks that are recorded in the simulator and learned by the same policy; your own data have theirs."""
    collect: PlayConfig = PlayConfig(
        demonstrations=5, demonstration_noise=0.1, play_episodes=60, random_episodes=10, frames_after_success=40
    )
    """Of each task; episodes last until the time limit, which is when they are judged."""
    film: FilmConfig = FilmConfig(cameras=CAMERAS, image_size=SIZE, frames=3)
    text_encoder: str | None = None
    """module:function of your own that makes vectors of a list of sentences; else each has a row of a table."""
    policy: TokenPolicyConfig = TokenPolicyConfig()
    pretraining: TrainingConfig = TrainingConfig(steps=1500, batch_size=128, ema_decay=None, weight_decay=1e-3)
    latents: PatchLatentsConfig = PatchLatentsConfig(latent_dim=64)
    world_model: DiffusionForcingConfig = DiffusionForcingConfig(steps=4)
    world_model_training: TrainingConfig = TrainingConfig(
        steps=3000, batch_size=32, learning_rate=1.5e-3, weight_decay=1e-2
    )
    judge: AnyJudge = VideoJudgeConfig()
    judge_training: TrainingConfig = TrainingConfig(steps=1000, batch_size=64, ema_decay=None, weight_decay=1e-3)
    imagined_share: float = within(0.5, 0, 1, open_high=True)
    """Share of films that a video judge learns from which the world model imagined under recorded actions."""
    least_kappa: float = within(0.4, -1, 1)
    """Cohen's κ with held-out recorded outcomes below which a judge is refused."""
    imagination: ImaginationConfig = ImaginationConfig(
        num_envs=64, horizon=40, starts=StartConfig(episode_start_share=1.0), pessimism=PessimismConfig("none")
    )
    learner: GRPOConfig = GRPOConfig()
    refine: RefineConfig = RefineConfig(
        iterations=40, imagined_episodes=96, evaluate_every=10, margin=0.02, average=0.8, patience=4
    )
    gate: GateConfig = GateConfig(worlds=2, training_share=0.5)

    @property
    def code(self) -> str | None:
        """What these settings make Burnish import."""
        return self.text_encoder or getattr(self.judge, "function", None) or super().code

    def __post_init__(self) -> None:
        self.imagination.pessimism.check(())
        if self.imagination.starts.episode_start_share < 1:
            raise InputError(
                "config.imagination.starts.episode_start_share: expected 1, a judge sees films of whole episodes"
            )
        if self.film.action_encoding != FilmConfig(cameras=("any",)).action_encoding:
            raise InputError("config.film.action_encoding: expected none, the world model is told actions as they are")

    @property
    def cameras(self) -> tuple[str, ...]:
        """Whose pictures everything looks at."""
        return self.film.cameras


def recipe(c: WorldGymnast, run: RunSpec) -> Plan:
    """The method in its order."""
    # Episodes with instructions, of several tasks.
    data, task = instructed(c, run)
    seen = Instructed(data, c.cameras, states=False, reward=c.reward)
    # One policy for all of them, cloned.
    how = Cloning(sized(c.policy, c.film), c.pretraining, noise=0.0, best_share=c.reward.best_share)
    settings = {"film": c.film, "how": how, "text": c.text_encoder, "task": task, "seed": run.seed}
    if not isinstance(c.judge, VideoJudgeConfig):
        settings["reached"] = stage(reach_judge, "reached", judge=c.judge).folder
    policy = stage(clone_instructed, "policy", data=seen.whole, **settings)
    # The world model, the judge, and whether that one can be trusted.
    imagined = models(c, seen.split(c.held_out), run.seed, policy, c.least_kappa)
    starts = starting(c, run, policy, seen.whole, imagined, how)
    # GRPO from the recorded start frames of all instructions.
    settings = {"imagination": c.imagination, "learner": c.learner, "refinement": c.refine, "seed": run.seed}
    refined = stage(refine_policy, "refined", policy=starts.chosen, data=seen.whole, models=imagined, **settings)

    def held_out(config: WorldGymnast, fold: Reading, seed: int) -> Models:
        learned = config.judge if isinstance(config.judge, VideoJudgeConfig) else VideoJudgeConfig()
        return models(replace(config, judge=learned), fold, seed, policy, None)

    return finish(run, c, held_out, Parts(data, seen, policy, imagined, refined, starts=starts))


def instructed(c: WorldGymnast, run: RunSpec) -> tuple[Stage, str]:
    """The data, and the task that the run is evaluated on, as the data call it."""
    if run.policy is not None:
        raise InputError("world-gymnast clones its policy, which reads instructions: found --policy, expected none")
    if run.own is not None:
        if c.tasks:
            raise InputError("config.tasks: your own data have their tasks, expected none beside --dataset")
        return own_data(run.own, run.task, c.cameras, c.reward, c.film.image_size, every_task=True), run.task
    from burnish.simulators.tasks import check_task

    check_cameras(c.cameras, c.film.image_size, c.simulator)
    tasks = tuple(dict.fromkeys(check_task(each) for each in (run.task, *c.tasks)))
    reals = tuple(replace(run.real(c), task=task) for task in tasks)
    for real in reals:
        real.check_expert()
    return stage(record_tasks, "dataset", alone=True, reals=reals, collect=c.collect), tasks[0]


def models(c: WorldGymnast, data: Reading, seed: int, policy: Stage, least_kappa: float | None) -> Models:
    """The world model and the judge, from (training, held-out) episodes; the gate asks for them on other ones."""
    settings = {"latents": c.latents, "model": c.world_model, "training": c.world_model_training, "seed": seed}
    world = stage(train_forcing, "world_model", data=data, policy=policy, **settings)
    settings = {"judge": c.judge, "training": c.judge_training, "imagined_share": c.imagined_share, "seed": seed}
    settings["horizon"] = c.imagination.horizon
    judge = stage(fit_judge, "judge", data=data, world=world, **settings, least_kappa=least_kappa)
    return Models(world, judge)
