"""CALVIN data as a LeRobotDataset v3.0: scripted play from the simulator, or CALVIN's own recorded data.

python -m burnish_calvin play OUT --task calvin:open_drawer --episodes 400
python -m burnish_calvin recorded FOLDER OUT --task calvin:open_drawer --segments segments.json
"""

import sys
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from burnish.errors import BurnishError, InputError
from burnish_calvin.recorded import import_calvin


def play(
    out: Annotated[Path, tyro.conf.Positional],
    task: str,
    episodes: int,
    steps: int = 72,
    levels: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3),
    first_seed: int = 0,
    workers: int = 1,
) -> None:
    """Scripted play of all eight skills, success being the task's; needs calvin_env."""
    from burnish_calvin.play import write_play

    settings = {"steps": steps, "levels": levels, "first_seed": first_seed, "workers": workers}
    with tqdm(total=episodes, unit="episode") as bar:

        def show(done: int, total: int) -> None:
            bar.update(done - bar.n)

        write_play(out, task, episodes, **settings, progress=show)


def recorded(
    folder: Annotated[Path, tyro.conf.Positional],
    out: Annotated[Path, tyro.conf.Positional],
    task: str,
    segments: Path | None = None,
    frames: int = 73,
    cameras: tuple[str, ...] = (),
    image_size: int = 64,
) -> None:
    """CALVIN's own `.npz` frames (scene D), cut into pieces, with the annotated segments of the task if given.

    Pictures of the `cameras` (static, gripper) come along, made as small as `image_size`.
    """
    with tqdm(unit="frame") as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        settings = {"segments": segments, "frames": frames, "cameras": cameras, "image_size": image_size}
        count = import_calvin(folder, task, out, **settings, progress=show)
    print(f"{out}: {count} episodes")


if __name__ == "__main__":
    try:
        tyro.extras.subcommand_cli_from_dict({"play": play, "recorded": recorded})
    except BurnishError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)
