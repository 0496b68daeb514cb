"""The sizes of TPM (`burnish.recipes.tpm`), by name, and what the list of recipes says of it."""

from dataclasses import replace

from burnish.evaluation.gate import GateConfig
from burnish.evaluation.settings import EvaluationConfig
from burnish.masks import mask_camera
from burnish.policies import TwoStreamPolicyConfig
from burnish.recipes.base import Recipe
from burnish.recipes.presets.world4rl import FRAMES, pixels
from burnish.recipes.tpm import TPM, recipe
from burnish.recipes.world4rl import World4RL
from burnish.simulators.settings import SimulatorConfig
from burnish.training import TrainingConfig
from burnish.world_models import AutoencoderConfig, PixelHistoryConfig

CAMERAS = ("table", mask_camera("table"))
DEFAULT = TPM(simulator=SimulatorConfig(cameras=CAMERAS, image_size=32), moments=True)
_LATENT = pixels(World4RL(), AutoencoderConfig(cameras=CAMERAS, image_size=32, latent_dim=32, width=16))
LATENTS = TPM(
    simulator=_LATENT.simulator,
    autoencoder=_LATENT.autoencoder,
    autoencoder_training=_LATENT.autoencoder_training,
    history=_LATENT.history,
    refine=_LATENT.refine,
)
FRAMES_FORM = TPM(
    simulator=SimulatorConfig(cameras=CAMERAS),
    history=PixelHistoryConfig(cameras=CAMERAS),
    policy=TwoStreamPolicyConfig(),
    pretraining=replace(FRAMES.pretraining, learning_rate=3e-3),
    **{
        name: getattr(FRAMES, name)
        for name in (
            "cloning_noise",
            "world_model",
            "world_model_training",
            "classifier",
            "classifier_training",
            "imagination",
            "ppo",
            "refine",
            "gate",
        )
    },
)
"""Two streams, as published, refined in imagined frames and masks. For a GPU."""
PAPER = replace(
    FRAMES_FORM,
    simulator=replace(FRAMES_FORM.simulator, image_size=128),
    history=replace(FRAMES_FORM.history, image_size=128),
    policy=TwoStreamPolicyConfig(widths=(64, 128, 256), embedding=512, hidden=(512,), shift=6),
    # 70 epochs of 150 iterations, 24 pictures each.
    pretraining=TrainingConfig(steps=10_500, batch_size=24, learning_rate=1e-4, ema_decay=None, weight_decay=5e-4),
)
"""The published training of the policy and larger streams; half its resolution, since frames are imagined."""
TINY = replace(
    DEFAULT,
    pretraining=replace(DEFAULT.pretraining, steps=200),
    world_model_training=replace(DEFAULT.world_model_training, steps=150),
    ensemble_training=replace(DEFAULT.ensemble_training, steps=100),
    classifier_training=replace(DEFAULT.classifier_training, steps=100),
    imagination=replace(DEFAULT.imagination, num_envs=64),
    ppo=replace(DEFAULT.ppo, critic_warmup=2),
    refine=replace(DEFAULT.refine, iterations=6, imagined_episodes=32, evaluate_every=3),
    gate=GateConfig(worlds=2, training_share=0.5, episodes=16),
    evaluation=EvaluationConfig(episodes=10, curve_points=1, curve_episodes=4, videos=0, picture_windows=6),
)
PRESETS = {"default": DEFAULT, "latents": LATENTS, "frames": FRAMES_FORM, "tiny": TINY, "paper": PAPER}

RECIPE = Recipe(
    name="tpm",
    system="TPM: masks of the things that a sentence names, two streams; refined where masks are imagined",
    paper="arXiv 2306.05716",
    needs="demonstrations with pictures, and masks or a sentence; frames, paper: a GPU",
    status="works on things never seen: refined 22, 25 to 61, 63 %, filtered 37, 47 (benchmarks/results/tpm.md)",
    build=recipe,
    presets=PRESETS,
)
