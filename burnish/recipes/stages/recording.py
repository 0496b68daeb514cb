"""Stages that record episodes in the simulator; the only ones before the evaluation that touch it."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from burnish.config import within
from burnish.data import Dataset, Recording
from burnish.pipeline import StageContext
from burnish.report.section import Section, save_sections
from burnish.report.sections_run import data_section, masks_section, mean_returns
from burnish.rewards import RewardConfig
from burnish.simulators.settings import SimulatorConfig

if TYPE_CHECKING:  # a run on somebody's own data imports no simulator
    from burnish.recipes.recording import Recorder


@dataclass(frozen=True)
class Real:
    """The simulator of a run: what its episodes depend on beside who acts."""

    task: str
    seed: int
    simulator: SimulatorConfig

    @property
    def recorder(self) -> "Recorder":
        """The simulator itself, with worker processes that live as long as this process."""
        from burnish.recipes.recording import Recorder
        from burnish.simulators.parallel import shared_pool

        return Recorder(self.task, self.seed, self.simulator, shared_pool())

    def check_expert(self) -> None:
        """Raise InputError, which says what to do instead, where nobody can demonstrate the task."""
        from burnish.simulators.tasks import suite_of

        suite_of(self.task).expert()


@dataclass(frozen=True)
class CollectConfig:
    """What is recorded in the simulator before any learning, and with the pretrained policy."""

    demonstrations: int = within(5, 0)
    """Successful episodes of the scripted expert that the policy is cloned from."""
    demonstration_noise: float = within(0.3, 0)
    """Standard deviation of the temporally correlated noise on the expert's actions; 0 for perfect demonstrations."""
    policy_episodes: int = within(150, 0)
    """Rollouts of the pretrained policy (World4RL: 150)."""
    policy_noise: tuple[float, ...] = within((0.0, 0.1, 0.2, 0.4), 0)
    """Graded noise: rollouts are shared evenly between these standard deviations."""
    random_episodes: int = within(30, 0)
    """Uniformly random motion (World4RL: 30)."""
    noisy_expert_episodes: int = within(0, 0)
    """Further expert episodes with graded noise, for the world model and the classifier only."""
    noisy_expert_noise: tuple[float, ...] = within((0.2, 0.4, 0.8), 0)
    frames_after_success: int = within(8, 0)
    """Decisions recorded after the first success, so that the classifier sees what success looks like."""


def record_demonstrations(context: StageContext, real: Real, collect: CollectConfig) -> Recording:
    """Expert demonstrations (the successful ones), random motion, and graded noisy experts if asked for.

    World4RL, section III-A; its rollouts of the policy are recorded later (`record_rollouts`).
    """
    c, recorder = collect, real.recorder
    others = [
        *recorder.random_motion(c.random_episodes),
        *recorder.noisy_experts(c.noisy_expert_episodes, c.noisy_expert_noise),
    ]
    episodes = recorder.record_demonstrations(
        c.demonstrations, c.demonstration_noise, others, c.frames_after_success, context
    )
    return Recording(episodes, recorder.info)


def record_rollouts(
    context: StageContext,
    real: Real,
    earlier: Dataset,
    policy: Path,
    episodes: int,
    noise: tuple[float, ...],
    frames_after_success: int,
) -> Recording:
    """Rollouts of a policy with graded noise, joined to the earlier episodes: the whole offline data."""
    recorder = real.recorder
    played = recorder.record(recorder.rollouts(policy, episodes, noise), frames_after_success, context)
    return noted(context, Recording([*earlier.to_episodes(), *played], recorder.info))


def noted(
    context: StageContext,
    recording: Recording,
    reward: RewardConfig | None = None,
    more: Sequence[Section] = (),
    dataset: Dataset | None = None,
) -> Recording:
    """The same, after its episodes (the `dataset`, where there is one already), as `reward` sees them, were counted for
    the report, beside `more` of it."""
    if dataset is None:
        episodes = list(recording.episodes)
        dataset, recording = Dataset.from_episodes(episodes, recording.info), replace(recording, episodes=episodes)
    sources, lengths, success = list(dataset.sources), dataset.lengths.tolist(), dataset.episode_success.tolist()
    seen = dataset
    seen = reward.view(seen) if reward is not None and reward.is_written else seen
    known = seen.reward is not None
    returns = seen.episode_return.tolist() if known else []
    if known:
        context.record("returns", mean_returns(sources, returns))
    section = data_section(sources, lengths, success if any(success) else None, returns if known else None)
    save_sections(context.folder, [section, *more])
    return recording


def noted_masks(context: StageContext, pictures: int, lost: int) -> Section:
    """Count for the report how often a named thing was lost, and say it in words."""
    context.record("lost_tracks", lost)
    context.record("tracked_pictures", pictures)
    return masks_section(context.name, pictures, lost)


def tracked(context: StageContext) -> Callable[[], list[Section]]:
    """Begin to count what trackers lose in the simulator; what is returned tells it, once, where there were any."""
    before = _use()

    def told() -> list[Section]:
        pictures, lost = (after - earlier for after, earlier in zip(_use(), before, strict=True))
        return [noted_masks(context, pictures, lost)] if pictures else []

    return told


def _use() -> tuple[int, int]:
    counter = sys.modules.get("burnish.simulators.counter")  # imported by whoever has a simulator
    use = counter.simulator_use() if counter is not None else None
    return (0, 0) if use is None else (use.tracked_pictures, use.lost_tracks)
