"""Which reward a run has: a success classifier, a learned reward, or one that is written down; and its view of data."""

import inspect
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.components import Component
from burnish.config import within
from burnish.data import ActionScaling, Dataset
from burnish.errors import InputError
from burnish.rewards.base import CalibratedClassifier
from burnish.rewards.judge import Judge, JudgedReward
from burnish.rewards.outcome import EndsWithWorld, Features, ImaginedReward, LearnedReward, Reward, SuccessReward
from burnish.rewards.reward_head import RewardHead, RewardHeadConfig
from burnish.rewards.terms import Function, FunctionReward, RewardTerms, reward_function, written_term


@dataclass(frozen=True)
class RewardConfig:
    """What imagination rewards, and so what policies are compared by: success where it is told, else the return."""

    kind: Literal["auto", "success", "learned", "terms", "function"] = "auto"
    """auto: success where the data have any, else a reward learned from next.reward. success: a classifier of it.
    learned: next.reward and next.done. terms, function: written down as below, for recorded episodes, too."""
    with_success: bool = False
    """Beside a dense reward: the data's success, told by a classifier, ends episodes and compares policies."""
    head: RewardHeadConfig = RewardHeadConfig()
    terms: tuple[str, ...] = ()
    """For the kind terms, each "WEIGHT KIND OF [TO [SCALE]] [ends]": "-1 distance hand goal", "-0.1 effort",
    "5 within hand 0,0.6,0.2 0.05 ends" (`rewards.terms`)."""
    function: str | None = None
    """For the kind function: module:function of your own, (state, action, following) -> reward or Outcome."""
    best_share: float = within(0.25, 0, 1, open_low=True)
    """Share of the episodes, those of the highest return, that a policy is cloned from where the data have neither an
    expert nor a success ("%BC" of Decision Transformer, arXiv 2106.01345)."""

    def __post_init__(self) -> None:
        for kind, given in (("terms", bool(self.terms)), ("function", self.function is not None)):
            if given != (self.kind == kind):
                found = f"'{kind}'" if given else f"no {kind}"
                raise InputError(
                    f"reward.kind is '{self.kind}', but found {found}; expected the kind and {kind} together"
                )
        for text in self.terms:
            written_term(text)
        if self.with_success and self.kind in ("auto", "success"):
            raise InputError(f"reward.with_success is for dense rewards; expected another kind than '{self.kind}'")

    @property
    def is_written(self) -> bool:
        """Whether nothing about it is learned from the data."""
        return self.kind in ("terms", "function")

    @property
    def is_dense(self) -> bool:
        """Whether returns are what it is about, whatever success the data have."""
        return self.kind not in ("auto", "success") and not self.with_success

    def written(self) -> Function:
        """The function that is written down; InputError where there is no such function."""
        assert self.is_written
        if self.function is not None:
            return reward_function(self.function)
        return RewardTerms(tuple(written_term(text) for text in self.terms))

    @property
    def source(self) -> Path | None:
        """The file of your own function, on which results depend; None where there is none."""
        found = None if self.function is None else inspect.getsourcefile(inspect.unwrap(reward_function(self.function)))
        return None if found is None else Path(found).absolute()

    def view(self, dataset: Dataset) -> Dataset:
        """The data as this reward sees them.

        Written rewards take the place of recorded ones. Success that is not asked for is left out, so that episodes are
        compared by their returns.

        Raises:
            InputError: rewards are to be learned and none were recorded, or a written reward wants a name that the
                state does not have.
        """
        if self.kind in ("auto", "success"):
            return dataset
        seen = dataset if self.with_success else replace(dataset, success=torch.zeros_like(dataset.success))
        if self.is_written:
            return relabelled(seen, self.written())
        if dataset.reward is None:
            raise InputError("reward.kind is 'learned', but the data have no column 'next.reward' to learn it from")
        return seen

    def of(self, dataset: Dataset) -> str:
        """The kind that is meant, with auto decided by the data."""
        return self.kind if self.kind != "auto" else "success" if dataset.has_success else "learned"


class WrittenReward(Component):
    """A reward that needs no training, kept among what was learned."""

    def __init__(
        self, config: RewardConfig, state_names: tuple[str, ...] | None, scaling: ActionScaling | None = None
    ) -> None:
        super().__init__()
        self.function, self.state_names, self.scaling = config.written(), state_names, scaling


class WorldReward(Component):
    """Says that the world model imagines the rewards itself, so that nothing else had to be learned."""

    def __init__(self) -> None:
        super().__init__()


class RewardAndSuccess(Component):
    """A dense reward, and a classifier of the success that ends episodes."""

    def __init__(self, dense: Component, classifier: CalibratedClassifier) -> None:
        super().__init__()
        self.dense, self.classifier = dense, classifier


def as_reward(world_model: Features, kept: Component) -> Reward:
    """What was learned or written down, as the reward of a world model's transitions; with the ends that it tells."""
    reward = _of_kept(world_model, kept)
    return EndsWithWorld(world_model, reward) if hasattr(world_model, "ended") else reward  # type: ignore[arg-type]


def _of_kept(world_model: Features, kept: Component) -> Reward:
    if isinstance(kept, RewardHead):
        return LearnedReward(world_model, kept)
    if isinstance(kept, WrittenReward):
        return FunctionReward(world_model, kept.function, kept.state_names, kept.scaling)
    if isinstance(kept, WorldReward):
        return ImaginedReward(world_model)  # type: ignore[arg-type]
    if isinstance(kept, Judge):
        return JudgedReward(kept)
    if isinstance(kept, RewardAndSuccess):
        return SuccessReward(world_model, kept.classifier, _of_kept(world_model, kept.dense))
    assert isinstance(kept, CalibratedClassifier)
    return SuccessReward(world_model, kept)


def relabelled(dataset: Dataset, function: Function) -> Dataset:
    """The data with what `function` says of every recorded transition: reward, ends, and success where it tells."""
    later = torch.ones(dataset.num_frames, dtype=torch.bool, device=dataset.device)
    later[dataset.starts] = False
    frames = later.nonzero().flatten()
    before, after = ({k: values[f] for k, values in dataset.observations.items()} for f in (frames - 1, frames))
    of = FunctionReward(_AsRecorded(), function, dataset.info.state_names, dataset.info.scaling)
    told = of(before, dataset.actions[frames - 1], after)
    reward = torch.zeros(dataset.num_frames, device=dataset.device).index_put((frames,), told.reward.float())
    ended = torch.zeros_like(later).index_put((frames,), told.terminated)
    success = dataset.success
    if told.success is not None:
        success = torch.zeros_like(later).index_put((frames,), told.success)
    return replace(dataset, reward=reward, terminated=ended, success=success)


class _AsRecorded:
    """Observations as states of their own."""

    def features(self, state: Any) -> Float[Tensor, "B F"]:
        raise NotImplementedError

    def decode(self, state: Any) -> dict[str, Tensor]:
        return state
