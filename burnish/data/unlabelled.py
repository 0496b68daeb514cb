"""Video without actions: what a data set is to models that learn from pictures alone, and the few labelled steps."""

from dataclasses import replace

import torch

from burnish.data.checks import bad_input
from burnish.data.dataset import Dataset
from burnish.data.episodes import is_image_key

STILL = 8
"""Of 255: a video in which no channel of any pixel ever changes by more than that shows no motion."""
_LOOKED_AT = 512


def unlabelled_video(dataset: Dataset, where: object = "the video") -> Dataset:
    """The same episodes as a video tells them: pictures, and actions without any dimension (F, 0).

    States, rewards and who acted are left out as well; that an episode ended in success is not.

    Raises:
        InputError: there are no pictures, or nothing moves in them.
    """
    pictures = {key: values for key, values in dataset.observations.items() if is_image_key(key)}
    if not pictures:
        raise bad_input(where, f"{sorted(dataset.observations)}", "a camera's pictures", field="observation.images")
    require_motion(dataset, where)
    none = dataset.actions.new_zeros(dataset.num_frames, 0)
    info = replace(dataset.info, state_names=None, action_names=None, scaling=None)
    return replace(dataset, observations=pictures, actions=none, reward=None, info=info)


def require_motion(dataset: Dataset, where: object = "the video") -> None:
    """Check that something moves, in frames spread over the data.

    Raises:
        InputError: nothing does; names the camera, and what is wrong with it.
    """
    frames = torch.ones(dataset.num_frames, dtype=torch.bool, device=dataset.device)
    frames[dataset.starts + dataset.lengths - 1] = False
    present = frames.nonzero().flatten()
    present = present[:: -(-len(present) // _LOOKED_AT) or 1]
    keys = [key for key in dataset.observations if is_image_key(key)]
    for key in keys:
        pictures = dataset.observations[key]
        change = (pictures[present + 1].to(torch.int16) - pictures[present].to(torch.int16)).abs()
        if len(present) and int(change.max()) > STILL:
            return
    found = f"{len(present)} pairs of frames in which no pixel changes by more than {STILL} of 255"
    expected = "pictures in which something moves (is the camera the right one? --data-cameras names others)"
    raise bad_input(where, found, expected, field=", ".join(keys))


def labelled_steps(
    dataset: Dataset,
    steps: int,
    seed: int,
    first: tuple[str, ...] = ("expert",),
    most: int | None = None,
    fewer: bool = False,
) -> Dataset:
    """Episodes in which about `steps` actions were executed: all that is known of what the robot's actions do.

    Whole episodes, in an order that `seed` draws, those by `first` before others, at most `most` of them (None: all);
    of the last one its beginning.

    Raises:
        InputError: the data set has not that many, and `fewer` will not do.
    """
    drawn = torch.randperm(dataset.num_episodes, generator=torch.Generator().manual_seed(seed)).tolist()
    order = [episode for episode in drawn if dataset.sources[episode] in first][:most]
    order += [episode for episode in drawn if dataset.sources[episode] not in first]
    there = int((dataset.lengths[order] - 1).sum())
    if steps > there and not fewer:
        raise bad_input("the data set", f"{there} steps with an action", f"at least {steps}", field="labelled_steps")
    chosen, left = [], min(steps, there)
    for episode in order:
        if left <= 0:
            break
        chosen.append(episode)
        left -= int(dataset.lengths[episode]) - 1
    part = dataset.subset(chosen)
    return part if left >= 0 else _without_last(part, -left)


def _without_last(dataset: Dataset, frames: int) -> Dataset:
    """Without the last `frames` frames of the last episode."""
    kept, lengths = slice(dataset.num_frames - frames), dataset.lengths.clone()
    lengths[-1] -= frames
    return replace(
        dataset,
        observations={key: values[kept] for key, values in dataset.observations.items()},
        actions=dataset.actions[kept],
        success=dataset.success[kept],
        lengths=lengths,
        reward=None if dataset.reward is None else dataset.reward[kept],
        terminated=None if dataset.terminated is None else dataset.terminated[kept],
    )
