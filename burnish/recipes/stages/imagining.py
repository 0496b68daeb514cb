"""The models of a run put together: what imagines, what it earns, and what is not to be trusted."""

from burnish import imagination
from burnish.components import frozen
from burnish.data import Dataset
from burnish.imagination import Pessimism, PessimismConfig, with_own
from burnish.recipes.base import Models
from burnish.rewards import EndsWithWorld, JudgedReward, SuccessReward, as_reward


def imagined(
    models: Models, pessimism: PessimismConfig | None = None, data: Dataset | None = None
) -> imagination.Models:
    """Models that stages left, without gradients; by default pessimism counts all uncertainties and halts.

    A world model that is an ensemble is an uncertainty about itself. Where rewards are dense an episode that halts is
    worth no more than the worst one of `data`: nothing would be an escape from costs. What has two values in `data`
    is carried out as one of them where its scaling says so.
    """
    world = frozen(models.world)
    uncertainties = with_own(world, tuple(frozen(each) for each in models.uncertainties))
    reward, worst = as_reward(world, frozen(models.reward)), 0.0
    told = reward.reward if isinstance(reward, EndsWithWorld) else reward
    dense = not isinstance(told, SuccessReward | JudgedReward) or getattr(told, "dense", None) is not None
    if dense and data is not None and data.reward is not None:
        worst = min(0.0, float(data.episode_return.min()))
    caution = Pessimism(uncertainties, halt_reward=worst)
    if pessimism is not None:
        caution = Pessimism.of(pessimism, uncertainties, worst)
    scaling = None if data is None else data.info.scaling
    return imagination.Models(world, reward, caution, () if scaling is None else scaling.switches)
