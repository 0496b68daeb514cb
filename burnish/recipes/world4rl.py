"""World4RL (arXiv 2509.19080), read from top to bottom like its method section.

Three networks learn, separately, from offline data: a behaviour-cloned policy, a diffusion transition model and a
success classifier.  They are frozen, and PPO refines the policy inside the world that they imagine.  Beyond the paper,
imagination is pessimistic: an ensemble and the distance to the data halt episodes that leave the data, and an anchor
holds the policy near the pretrained one.  All of it reads state vectors, or a compact latent of camera pictures
(`recipes/views.py`).
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from burnish.components import frozen, load, save
from burnish.data import Dataset, Windows, read_dataset, require_successes
from burnish.pipeline import StageContext
from burnish.policies import Agent, GaussianPolicy, load_agent
from burnish.recipes.gating import gate_steps
from burnish.recipes.own_data import OwnData, copy_own_data
from burnish.recipes.parts import (
    Imagination,
    Split,
    clone,
    cloned_episodes,
    recorded_features,
    refine_in_imagination,
    train_classifier,
    validation,
    with_evaluation_and_report,
)
from burnish.recipes.steps import Step, store_dataset
from burnish.recipes.views import StateView, view_of
from burnish.recipes.world4rl_config import CollectConfig, World4RLConfig
from burnish.rewards import SuccessClassifier
from burnish.training import fit
from burnish.world_models import (
    DataSupport,
    DiffusionWorldModel,
    DisagreementEnsemble,
    Encoded,
    ObservationHistory,
    TransitionSpace,
    learned_dimensions,
    position_differences,
)

if TYPE_CHECKING:  # a run on somebody's own data imports no simulator
    from burnish.recipes.recording import Recorder


def steps(
    config: World4RLConfig, task: str, seed: int, recorder: "Recorder | None" = None, own: OwnData | None = None
) -> list[Step]:
    """The method in its order: every stage, what of the configuration it depends on, and what it reads.

    Data come from the simulator of `recorder`, or from `own`.  Without a simulator nothing is evaluated in one.
    """
    c = config
    simulator = c.simulator if recorder is not None else None
    view = view_of(c.observation, c.autoencoder, c.autoencoder_training, simulator, c.held_out, seed)

    def data(stage: StageContext) -> Dataset:
        return view.dataset(stage)

    def vectors(stage: StageContext) -> Dataset:
        return view.vectors(view.dataset(stage))

    def split(stage: StageContext) -> Split:
        return vectors(stage).split(c.held_out, seed=0)

    def agent(stage: StageContext) -> Agent:
        return load_agent(stage.inputs["policy"], task)

    def world_model(stage: StageContext) -> DiffusionWorldModel:
        return frozen(load(stage.inputs["world_model"], DiffusionWorldModel))

    def classifier(stage: StageContext) -> SuccessClassifier:
        return frozen(load(stage.inputs["classifier"], SuccessClassifier))

    def ensemble(stage: StageContext) -> DisagreementEnsemble:
        return frozen(load(stage.inputs["ensemble"], DisagreementEnsemble))

    def support(stage: StageContext) -> DataSupport:
        return frozen(load(stage.inputs["ensemble"] / "support", DataSupport))

    cloning = {"history": c.history, "policy": c.policy, "training": c.pretraining, "noise": c.cloning_noise}
    cloning |= {"seed": seed, "task": task}
    space = {"held_out": c.held_out, "history": c.history, "seed": seed}
    seen = view.inputs
    if recorder is not None:
        real = {"simulator": c.simulator, "collect": c.collect, "task": task, "seed": seed}
        sequence = [
            Step("demonstrations", real, (), lambda s: collect_demonstrations(c.collect, recorder, s), alone=True),
            *view.steps("demonstrations"),
            Step(
                "policy",
                cloning,
                ("demonstrations", *seen[:1]),
                lambda s: pretrain(c, task, seed, "demonstrations", view, s),
            ),
            Step(
                "dataset",
                real,
                ("demonstrations", "policy"),
                lambda s: collect_rollouts(c.collect, recorder, s),
                alone=True,
            ),
            *view.latents(),
        ]
    else:
        assert own is not None
        sequence = [
            Step(
                "dataset",
                {"own_data": own.rule, "task": task},
                own.inputs(view.cameras),
                lambda s: copy_own_data(own, task, view.cameras, s),
                alone=True,
            ),
            *view.steps("dataset"),
            *view.latents(),
            Step("policy", cloning, ("dataset", *seen), lambda s: pretrain(c, task, seed, "dataset", view, s)),
        ]
    learned = [
        *sequence,
        Step(
            "world_model",
            {**space, "model": c.world_model, "training": c.world_model_training},
            ("dataset", "policy", *seen),
            lambda s: train_world_model(c, seed, split(s), agent(s), s),
        ),
        Step(
            "ensemble",
            {**space, "model": c.ensemble, "training": c.ensemble_training, "support": c.support},
            ("dataset", "policy", *seen),
            lambda s: train_ensemble(c, seed, split(s), agent(s), s),
        ),
        Step(
            "classifier",
            {**space, "model": c.classifier, "training": c.classifier_training},
            ("dataset", "world_model", *seen),
            lambda s: train_success_classifier(c, seed, split(s), world_model(s), s),
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
            ("dataset", "policy", "world_model", "classifier", "ensemble", *seen),
            lambda s: refine_policy(
                c,
                task,
                seed,
                data(s),
                agent(s),
                view.outside(s, world_model(s)),
                classifier(s),
                ensemble(s),
                support(s),
                s,
            ),
        ),
    ]
    held_out = replace(c, history=replace(c.history, inertia=c.held_out_inertia))
    learned += gate_steps(
        held_out,
        task,
        seed,
        view,
        {
            "history": held_out.history,
            "world_model": c.world_model,
            "ensemble": c.ensemble,
            "support": c.support,
            "classifier": c.classifier,
        },
        ("dataset", "policy", *seen),
        lambda fewer_steps, seed, split, s: train_world(fewer_steps, seed, split, agent(s), s),
    )
    return with_evaluation_and_report(learned, c, task, seed, recorder, view, world_model, ensemble)


# ---------------------------------------------------------------------------------------------------------------------
# 1. Data: D_exp, D_random, and later D_rollout (section III-A).


def collect_demonstrations(config: CollectConfig, recorder: "Recorder", stage: StageContext) -> None:
    """Expert demonstrations (the successful ones), random motion, and graded noisy experts if asked for."""
    c = config
    others = [
        *recorder.random_motion(c.random_episodes),
        *recorder.noisy_experts(c.noisy_expert_episodes, c.noisy_expert_noise),
    ]
    episodes = recorder.record_demonstrations(
        c.demonstrations, c.demonstration_noise, others, c.frames_after_success, stage
    )
    store_dataset(stage.folder, episodes, recorder.info)


def collect_rollouts(config: CollectConfig, recorder: "Recorder", stage: StageContext) -> None:
    """Rollouts of the pretrained policy with graded noise, joined to the demonstrations: the whole offline data."""
    earlier = read_dataset(stage.inputs["demonstrations"]).to_episodes()
    jobs = recorder.rollouts(stage.inputs["policy"], config.policy_episodes, config.policy_noise)
    episodes = earlier + recorder.record(jobs, config.frames_after_success, stage)
    store_dataset(stage.folder, episodes, recorder.info)


# ---------------------------------------------------------------------------------------------------------------------
# 2. The policy π_ξ, by behaviour cloning (Eqs. 1–2).


def pretrain(config: World4RLConfig, task: str, seed: int, source: str, view: StateView, stage: StageContext) -> None:
    """Negative log-likelihood of the actions in stage `source`; its normaliser is the one that every model shares."""
    demonstrations = view.vectors(view.dataset(stage, source))
    observer = ObservationHistory(demonstrations.observation_dim, demonstrations.action_dim, config.history)
    observer.fit(demonstrations)
    torch.manual_seed(seed)
    policy = GaussianPolicy(observer.feature_dim, demonstrations.action_dim, config.policy)
    chosen = cloned_episodes(demonstrations)
    seen = [recorded_features(observer, chosen)]
    clone(policy, seen, chosen, config.cloning_noise, config.pretraining, seed, stage)
    save(stage.folder, Agent(view.outside(stage, observer), policy, task=task))


# ---------------------------------------------------------------------------------------------------------------------
# 3. The transition model D_θ (Eqs. 4–7), and an ensemble beside it that knows where the data ends.


def train_world_model(config: World4RLConfig, seed: int, split: Split, agent: Agent, stage: StageContext) -> None:
    """EDM-preconditioned diffusion over the next observation, given H frames and two-hot actions."""
    training, held_out = split
    torch.manual_seed(seed)
    world_model = DiffusionWorldModel(transition_space(config, training, agent), config.world_model)
    windows = Windows(training, history=config.history.frames, horizon=config.world_model.rollout_steps)
    schedule = config.world_model_training
    validate = validation(world_model, training, held_out, schedule, seed)
    with stage.progress(schedule.steps, "steps") as bar:
        fit(world_model, windows, schedule, stage.folder, seed, on_step=bar.at, validate=validate)
    save(stage.folder, world_model)


def train_ensemble(config: World4RLConfig, seed: int, split: Split, agent: Agent, stage: StageContext) -> None:
    """Bootstrapped predictors of the mean change; the halting threshold comes from held-out real windows."""
    training, held_out = split
    torch.manual_seed(seed + 1)
    ensemble = DisagreementEnsemble(transition_space(config, training, agent), config.ensemble)
    sampler = ensemble.bootstrap(training, seed)
    with stage.progress(config.ensemble_training.steps, "steps") as bar:
        fit(ensemble, sampler, config.ensemble_training, stage.folder, seed, on_step=bar.at)
    stage.record("halting", ensemble.calibrate(held_out))
    save(stage.folder, ensemble)
    support = DataSupport.fit(ensemble.space, config.support, training, held_out, seed)
    save(stage.folder / "support", support)


def train_world(config: World4RLConfig, seed: int, split: Split, agent: Agent, stage: StageContext) -> None:
    """Everything that imagines, on other episodes: for the trust gate's held-out worlds."""
    stage.once("world_model", lambda s: train_world_model(config, seed, split, agent, s))
    stage.once("ensemble", lambda s: train_ensemble(config, seed, split, agent, s))
    world_model = frozen(load(stage.folder / "world_model", DiffusionWorldModel))
    stage.once("classifier", lambda s: train_success_classifier(config, seed, split, world_model, s))


def transition_space(config: World4RLConfig, training: Dataset, agent: Agent) -> TransitionSpace:
    """The space in which transitions are predicted, with the policy's normaliser."""
    learned = learned_dimensions(training)
    differences = position_differences(training)
    space = TransitionSpace(training.observation_dim, training.action_dim, learned, config.history, differences)
    space.normaliser.load_state_dict(agent.observer.normaliser.state_dict())  # type: ignore[union-attr]
    return space.fit(training)


# ---------------------------------------------------------------------------------------------------------------------
# 4. The reward r_t = C_ψ(x_{t+1}): a binary success classifier.


def train_success_classifier(
    config: World4RLConfig, seed: int, split: Split, world_model: DiffusionWorldModel, stage: StageContext
) -> None:
    """Binary cross-entropy on real frames and on imagined continuations of them; calibrated on held-out episodes."""
    training, held_out = split
    require_successes(training)
    torch.manual_seed(seed + 2)
    classifier = SuccessClassifier(world_model.feature_dim, config.classifier)
    train_classifier(classifier, world_model, training, held_out, config.classifier_training, seed, stage)


# ---------------------------------------------------------------------------------------------------------------------
# 5. Refinement: PPO inside the frozen world model (Eqs. 8–9), without any interaction.


def refine_policy(
    config: World4RLConfig,
    task: str,
    seed: int,
    dataset: Dataset,
    agent: Agent,
    world_model: "DiffusionWorldModel | Encoded",
    classifier: SuccessClassifier,
    ensemble: DisagreementEnsemble,
    support: DataSupport,
    stage: StageContext,
) -> None:
    """Start states from the data, actions from the policy, consequences from the world model, reward from C_ψ."""
    imagination = Imagination(world_model, classifier, ensemble, support, dataset, config.starts, config.imagination)
    judged = config.evaluation.imagined_episodes
    refine_in_imagination(imagination, agent, task, config.ppo, config.refine, judged, seed, stage)
