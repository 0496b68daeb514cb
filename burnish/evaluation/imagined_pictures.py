"""Pictures of a world model's open-loop imagination, from recorded frames of a dataset."""

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from burnish.data import Dataset, Windows, image_key, is_image_key
from burnish.errors import InputError
from burnish.imagination import Models, given, rollout
from burnish.world_models import State, WorldModel


def picture_key(held_out: Dataset, camera: str | None) -> str:
    """The key of a camera's pictures, of the first camera where `camera` is None.

    Raises InputError where the dataset has no such camera.
    """
    cameras = [key for key in held_out.observations if is_image_key(key)]
    chosen = [key for key in cameras if camera is None or key == image_key(camera)]
    if not chosen:
        wanted = image_key(camera or "<camera>")
        raise InputError(f"the held-out dataset: found {sorted(held_out.observations)}, expected '{wanted}'")
    return chosen[0]


def draw_windows(held_out: Dataset, frames: int, limit: int, generator: torch.Generator) -> Int64[Tensor, " N"]:
    """At most `limit` present frames that `frames` others follow, drawn without replacement, in frame order."""
    presents = Windows(held_out, history=1, horizon=frames).present_frames
    drawn = torch.randperm(len(presents), generator=generator, device=generator.device)[:limit]
    return presents[drawn.to(presents.device)].sort().values


def states_at(world_model: WorldModel, held_out: Dataset, frames: Int64[Tensor, " B"]) -> State:
    """The recorded states at frames of a dataset; only the episodes that hold them are read."""
    episode = held_out.episode_of_frame[frames]
    # Pictures are large: the states of a whole dataset may not fit into memory.
    chosen, place = episode.unique(return_inverse=True)
    part = held_out.subset(chosen.tolist())
    return world_model.recorded(part).rows(part.starts[place] + frames - held_out.starts[episode])


def actions_after(
    held_out: Dataset, present: Int64[Tensor, " B"], horizon: int, chunk: int
) -> Float[Tensor, "B horizon A"]:
    """The actions that were executed from each present on: `horizon` transitions of `chunk` flattened actions."""
    frames = present[:, None] + torch.arange(horizon * chunk, device=present.device)
    return held_out.actions[frames].view(len(present), horizon, -1)


def imagine_pictures(
    world_model: WorldModel,
    state: State,
    actions: Float[Tensor, "B horizon A"],
    key: str,
    generator: torch.Generator,
    every: bool = True,
) -> UInt8[Tensor, "B frames H W 3"]:
    """The pictures after each of the actions, or after the last one alone where `every` is False.

    Raises InputError where the world model decodes no such pictures.
    """
    pictures = []
    for now in rollout(Models(world_model), state, given(actions), actions.shape[1], generator):
        if every or now.step == actions.shape[1] - 1:
            pictures.append(decoded_picture(world_model, now.following, key))
    return torch.stack(pictures, 1)


def decoded_picture(world_model: WorldModel, state: State, key: str) -> UInt8[Tensor, "B H W 3"]:
    """The pictures of one camera that the states stand for; raises InputError where the model decodes none."""
    decoded = world_model.decode(state)
    if key not in decoded:
        raise InputError(f"the world model: found decoded {sorted(decoded)}, expected '{key}': it predicts no pictures")
    return decoded[key]


def check_same_size(pictures: Tensor, target: Tensor) -> None:
    """Raises InputError where imagined and recorded pictures differ in size."""
    if pictures.shape[-3:] != target.shape[-3:]:
        found, expected = tuple(pictures.shape[-3:]), tuple(target.shape[-3:])
        raise InputError(f"the world model: found decoded pictures of {found}, expected {expected} as in the dataset")
