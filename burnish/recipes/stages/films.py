"""Bodies of systems with instructions, frame latents and a judge (World-Gymnast)."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from burnish.components import build, frozen
from burnish.data import Dataset, Recording
from burnish.errors import InputError, RunError
from burnish.imagination import Models, recorded, rollout
from burnish.pipeline import StageContext
from burnish.policies import Agent
from burnish.recipes.stages.cloning import Cloning, clone, cloned_episodes
from burnish.recipes.stages.data import Split
from burnish.recipes.stages.play import PlayConfig, record_play
from burnish.recipes.stages.recording import Real, noted
from burnish.recipes.stages.refining import simulator_steps
from burnish.recipes.stages.training import recorded_features, train
from burnish.recipes.stages.transitions import windows_for
from burnish.report.section import save_sections
from burnish.report.sections_rewards import judge_section
from burnish.rewards import (
    EndpointJudge,
    Films,
    Judge,
    JudgeAgreement,
    ScriptedConfig,
    TruthConfig,
    VideoJudge,
    VideoJudgeConfig,
    VotesConfig,
    own_function,
)
from burnish.storage import write_json
from burnish.training import TrainingConfig
from burnish.world_models import (
    DiffusionForcing,
    DiffusionForcingConfig,
    FilmConfig,
    FilmHistory,
    PatchLatents,
    PatchLatentsConfig,
    instructions_of,
)

AnyJudge = VideoJudgeConfig | VotesConfig | TruthConfig | ScriptedConfig
JUDGE_FILE = "judge.json"
_FILM_EVERY = 3
"""Of an episode's frames, every such one is the end of a film that a judge learns from."""


def record_tasks(context: StageContext, reals: tuple[Real, ...], collect: PlayConfig) -> Recording:
    """The same kinds of episodes of several tasks, one after the other."""
    before, recorded_ones = simulator_steps(), [record_play(context, real, collect) for real in reals]
    context.record("simulator_steps", simulator_steps() - before)
    episodes = [episode for each in recorded_ones for episode in each.episodes]
    return noted(context, Recording(episodes, recorded_ones[0].info))


def reach_judge(context: StageContext, judge: AnyJudge) -> None:
    """Make sure that a judge can be asked, before anything trains; InputError where it cannot."""
    build(judge, (1, 3, 32, 32), ("",), 1).check()


def clone_instructed(
    context: StageContext,
    data: Dataset,
    film: FilmConfig,
    how: Cloning,
    text: str | None,
    task: str,
    seed: int,
    reached: Path | None = None,
) -> Agent:
    """One policy for all instructions of the data, cloned from the best episodes of each; the agent is told `task`.

    Nothing is read of `reached`, the stage that comes before.
    """
    names = instructions_of(data)
    vectors = None if text is None else encoded_text(text, names)
    observer = FilmHistory(data.action_dim, film, names, task, None if vectors is None else vectors.shape[1])
    if vectors is not None:
        observer.fit(vectors)
    observer = observer.to(context.device)
    chosen = cloned_episodes(data, how.best_share)
    missing = sorted(set(names) - set(chosen.tasks))
    if missing:
        raise InputError(
            f"the instruction '{missing[0]}': found no episode to clone among those of sources "
            f"{sorted(set(data.sources))}, expected a demonstration or a success of it"
        )
    torch.manual_seed(seed)
    policy = build(how.policy, observer.feature_dim, data.action_dim).to(context.device)
    clone(context, how, policy, [recorded_features(observer, chosen)], chosen, seed)
    return Agent(observer, policy, task, data.info.scaling)


def encoded_text(place: str, sentences: tuple[str, ...]) -> Tensor:
    """A vector for each sentence, by the user's own encoder; InputError where it returns something else."""
    found = own_function(place, "config.text_encoder")(list(sentences))
    vectors = torch.as_tensor(found, dtype=torch.float32)
    if vectors.dim() != 2 or len(vectors) != len(sentences) or not bool(vectors.isfinite().all()):
        raise InputError(
            f"config.text_encoder: '{place}' returned {tuple(vectors.shape)}, expected a vector of finite numbers for "
            f"each of {len(sentences)} sentences"
        )
    return vectors


def train_forcing(
    context: StageContext,
    data: Split,
    policy: Agent,
    latents: PatchLatentsConfig,
    model: DiffusionForcingConfig,
    training: TrainingConfig,
    seed: int,
) -> DiffusionForcing:
    """Patches' principal components, then diffusion forcing over them."""
    episodes, held_out = data
    observer = policy.observer
    torch.manual_seed(seed)
    size = observer.config.image_size
    encoder = PatchLatents(observer.channels, size, latents).to(context.device)
    encoder.fit(_frames(observer, episodes))
    context.record("latent_psnr", _psnr(encoder, _frames(observer, held_out)))
    world = DiffusionForcing(observer, encoder, model).check(episodes).to(context.device)
    windows = windows_for(episodes, observer.config.frames, 1, context.device)
    return train(context, world, windows, training, seed)


def _frames(observer: FilmHistory, dataset: Dataset) -> Tensor:
    """At most 2,000 frames, evenly spread."""
    rows = torch.arange(0, dataset.num_frames, -(-dataset.num_frames // 2000), device=dataset.device)
    return observer.pictures_of.pictures({key: dataset.observations[key][rows] for key in observer.keys})


def _psnr(encoder: PatchLatents, frames: Tensor) -> float:
    error = (encoder.decode(encoder.encode(frames)).float() - frames.float()).square().mean()
    return float(10 * torch.log10(255**2 / error.clamp(min=1e-9)))


# ---------------------------------------------------------------------------------------------------------------------
# The judge.


def fit_judge(
    context: StageContext,
    data: Split,
    world: DiffusionForcing,
    judge: AnyJudge,
    training: TrainingConfig,
    imagined_share: float,
    least_kappa: float | None,
    horizon: int,
    seed: int,
) -> Judge:
    """Learn to judge, or get ready to ask; then make sure, on recorded episodes with known outcomes, that it can.

    judge.json has the agreement, and what was asked and not answered.

    Raises:
        RunError: Cohen's κ is below `least_kappa`.
        InputError: episodes last longer than imagination's horizon.
    """
    episodes, held_out = (part.judged for part in data)
    # The longest recording has one transition less than frames.
    observer, limit = world.history, episodes.info.max_steps or int(episodes.lengths.max()) - 1
    if horizon < limit:
        raise InputError(
            f"config.imagination.horizon is {horizon}, expected the data's time limit or more, {limit}: episodes are "
            "judged when they are over"
        )
    torch.manual_seed(seed + 2)
    size, film = observer.config.image_size, observer.config.film
    shape = (film, observer.channels, size, size)
    made: Judge = build(judge, shape, observer.instructions, limit).to(context.device)
    found = {"kind": type(made).__name__, "least_kappa": least_kappa}
    if isinstance(made, VideoJudge):
        world = frozen(world)
        parts = [recorded_films(observer, episodes)]
        parts += [imagined_films(world, episodes, seed)] if imagined_share else []
        shares = (1 - imagined_share, imagined_share) if imagined_share else (1.0,)
        train(context, made, _Mixed([Films(*part) for part in parts], shares), training, seed)
        made.eval()
        if imagined_share:
            found["imagined"] = agreement(made, *imagined_films(world, held_out, seed, ends=True)).numbers()
    recorded_ones = agreement(made, *recorded_films(observer, held_out, ends=True))
    found |= {"recorded": recorded_ones.numbers(), "use": made.use.numbers()}
    if isinstance(made, EndpointJudge):
        found["use"]["cost"] = made.config.endpoint.cost(made.use)
    write_json(context.folder / JUDGE_FILE, found)
    context.record("judge", found)
    save_sections(context.folder, [judge_section(found)])
    if least_kappa is not None and recorded_ones.kappa < least_kappa:
        raise RunError(
            f"the judge is not to be trusted: its agreement with {recorded_ones.answered} recorded episodes is κ = "
            f"{recorded_ones.kappa:.2f} ({recorded_ones.unanswered} unanswered), expected {least_kappa:g} or more "
            "(config.least_kappa); give it more labelled episodes, another kind (config.judge), or larger pictures"
        )
    return made


@torch.no_grad()
def agreement(judge: Judge, film: Tensor, instruction: Tensor, label: Tensor) -> JudgeAgreement:
    """What a judge says of films, against their labels."""
    return JudgeAgreement.of(judge(film, instruction), label)


def recorded_films(observer: FilmHistory, dataset: Dataset, ends: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """(film, instruction, success so far) of recorded episodes up to every third frame, or whole ones (`ends`)."""
    state = observer.recorded(dataset)
    last = dataset.starts + dataset.lengths - 1
    chosen = torch.zeros(dataset.num_frames, dtype=torch.bool, device=dataset.device)
    if not ends:
        chosen |= state.age % _FILM_EVERY == _FILM_EVERY - 1
    chosen[last] = True
    rows = torch.nonzero(chosen).flatten()
    return state.film[rows], state.instruction[rows], success_so_far(dataset)[rows]


def success_so_far(dataset: Dataset) -> Tensor:
    """bool (F,): has any frame of the episode shown success up to here."""
    counted = dataset.success.long().cumsum(0)
    before = (counted - dataset.success.long())[dataset.starts]
    return counted > before[dataset.episode_of_frame]


@torch.no_grad()
def imagined_films(
    world: DiffusionForcing, dataset: Dataset, seed: int, ends: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """The same of recorded episodes as the world model imagines them under their actions, labelled by what happened."""
    generator = torch.Generator(device=dataset.device).manual_seed(seed)
    so_far, parts = success_so_far(dataset), list[tuple[Tensor, Tensor, Tensor]]()
    state = world.recorded(dataset).rows(dataset.starts)
    limits = dataset.lengths - 1
    for now in rollout(Models(world), state, recorded(dataset, dataset.starts), limits, generator):
        over = limits == now.step + 1
        wanted = over if ends else over | (now.alive & (now.step % _FILM_EVERY == _FILM_EVERY - 1))
        rows = torch.nonzero(wanted).flatten()
        label = so_far[(dataset.starts + now.step + 1)[rows]]
        parts.append((now.following.film[rows], now.following.instruction[rows], label))
    film, instruction, label = (torch.cat(each) for each in zip(*parts, strict=True))
    return film, instruction, label


class _Mixed:
    """Batches that have their share of each source."""

    def __init__(self, sources: list[Films], shares: tuple[float, ...]) -> None:
        self.sources, self.shares = sources, shares

    def sample(self, batch_size: int, generator: torch.Generator) -> Any:
        counts = [max(1, round(batch_size * share)) for share in self.shares]
        drawn = [each.sample(count, generator) for each, count in zip(self.sources, counts, strict=True)]
        return tuple(torch.cat(parts) for parts in zip(*drawn, strict=True))
