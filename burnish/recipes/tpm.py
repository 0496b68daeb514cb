"""TPM (arXiv 2306.05716), and beyond it a refinement: a policy that is shown what a sentence names.

A sentence is read once: a skill, and things by their role. Each thing is found by its name in an episode's first
picture and followed after (`burnish.masks`); a mask picture tells where it is, a channel for each role, and by its
value which skill is asked for. The policy sees colours in one stream and colours with masks in another, fused by
attention, and is cloned from demonstrations, with masks that are sometimes missing. So it need not know how a thing
looks that it never saw.

The paper ends there. Here masks are an observation like any other, so a world model learns what actions do to them,
and PPO refines the policy in it. In `frames`, for a GPU, that is the published policy, in imagined colours and masks.
On two cores (`default`) a policy of vectors is cloned and refined on the masks' moments alone, which know no colours;
`latents` has an autoencoder's numbers of colours and masks in their place.

Of the paper: GPT-4 is replaced by a grammar, MixFormer by a tracker of colours, its 224 pixels and residual networks by
small ones, its two heads by a Gaussian; one camera, a channel for each role where it has one for all, and no
proprioception. Its code has no licence and was not read for this; the paper's description is what is followed.
"""

from dataclasses import dataclass

from burnish.errors import InputError
from burnish.masks import MaskConfig, mask_camera
from burnish.pipeline import Reading, Stage, StageContext, stage
from burnish.policies import GaussianPolicyConfig, PicturePolicyConfig, TwoStreamPolicyConfig
from burnish.recipes.base import Models, Plan, RunSpec
from burnish.recipes.stages.cloning import starting
from burnish.recipes.stages.data import Recorded, encoder_of, own_data, seen_by
from burnish.recipes.stages.finish import Parts, finish
from burnish.recipes.stages.masking import add_masks
from burnish.recipes.stages.refining import refine_policy
from burnish.recipes.world4rl import (
    World4RL,
    cloning,
    image_size,
    models,
    of_another_kind,
    pretrained,
    transition_model,
)
from burnish.world_models import (
    MaskMoments,
    MaskMomentsConfig,
    PixelHistoryConfig,
)


@dataclass(frozen=True)
class TPM(World4RL):
    """Every setting of the method; what `collect` says is of no account, since data are brought along."""

    policy: GaussianPolicyConfig | TwoStreamPolicyConfig = GaussianPolicyConfig()
    camera: str = "table"
    """Whose pictures are masked."""
    mask_data: bool = False
    """Make masks of data that bring none, from the sentence that is their task; else the data bring them, as the
    pictures of a camera `CAMERA_mask`."""
    masks: MaskConfig = MaskConfig()
    """Who makes them, where they are made."""
    moments: bool = False
    """Whether models read the masks' moments."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """Whose pictures the models look at."""
        return (mask_camera(self.camera),) if self.moments else super().cameras

    def __post_init__(self) -> None:
        super().__post_init__()
        known = (self.camera, mask_camera(self.camera))
        if not self.cameras or not set(self.cameras) <= set(known):
            raise InputError(f"tpm: the models look at {', '.join(self.cameras) or 'no camera'}, expected {known}")
        two_streams = isinstance(self.policy, TwoStreamPolicyConfig)
        if isinstance(self.policy, PicturePolicyConfig) and (not two_streams or self.cameras != known):
            raise InputError(f"tpm: a policy of frames has two streams and looks at {', '.join(known)}, in this order")
        if self.moments and (self.autoencoder is not None or isinstance(self.history, PixelHistoryConfig)):
            raise InputError("tpm: found moments beside an autoencoder or a history of frames, expected one of them")


def recipe(c: TPM, run: RunSpec) -> Plan:
    """The method in its order."""
    # Reasoning, detection, tracking: masks of the things that the sentence names.
    data = masked(c, run)
    encoder = encoded(c, data, run.seed)
    recorded = seen_by(c, encoder, data)
    # The policy, cloned from demonstrations.
    policy = pretrained(c, run, data, recorded, encoder)
    # Beyond the paper: what actions do to colours and masks, and a policy that gets better in it.
    imagined = models(c, recorded.split(c.held_out), run.seed, policy, transition_model)
    starts = starting(c, run, policy, recorded.whole, imagined, cloning(c))
    settings = {"imagination": c.imagination, "learner": c.ppo, "refinement": c.refine, "seed": run.seed}
    inputs = {"policy": starts.chosen, "data": recorded.whole, "models": imagined}
    refined = stage(refine_policy, "refined", **inputs, **settings)

    def held_out(config: TPM, fold: Reading, seed: int) -> Models:
        return models(of_another_kind(config), fold, seed, policy, transition_model)

    return finish(run, c, held_out, Parts(data, recorded, policy, imagined, refined, encoder, starts))


def masked(c: TPM, run: RunSpec) -> Stage:
    """The data with their mask pictures, which they bring along or which are made now."""
    if run.own is None:
        raise InputError(
            "tpm learns from demonstrations that are there: found no --dataset, expected one with pictures, and masks "
            "of them or a sentence as its task"
        )
    if not c.mask_data:
        return own_data(run.own, run.task, c.cameras, c.reward, size(c))
    taken = own_data(run.own, run.task, (c.camera,), c.reward, size(c))
    seen = Recorded(taken, (c.camera,), reward=c.reward).whole
    return stage(add_masks, "masked", alone=True, data=seen, masks=c.masks, camera=c.camera)


def encoded(c: TPM, data: Stage, seed: int) -> Stage | None:
    """What stands between pictures and models of vectors; None where models read frames."""
    if c.moments:
        return stage(mask_moments, "moments", camera=c.camera, size=size(c))
    return encoder_of(c, data, seed)


def mask_moments(context: StageContext, camera: str, size: int) -> MaskMoments:
    """Nothing of it is learned."""
    return MaskMoments(MaskMomentsConfig(mask_camera(camera), size))


def size(c: TPM) -> int:
    """Height and width of the pictures."""
    return c.simulator.image_size if c.moments else image_size(c)
