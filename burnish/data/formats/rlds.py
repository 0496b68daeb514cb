"""RLDS (TensorFlow Datasets), which is not read: it takes TensorFlow, so that it is converted once."""

from collections.abc import Sequence
from pathlib import Path

from burnish.data.dataset import Dataset
from burnish.data.formats.base import Format, ReadingRule
from burnish.data.row_store import RowStore
from burnish.errors import InputError

_HOW = """\
converted first, in an environment that has tensorflow-datasets: for each episode of
tfds.builder_from_directory({path!r}).as_dataset(split='all'), np.savez('FOLDER/episode_N.npz', action=..., state=...)
from its steps, and --dataset FOLDER; or by Octo's and OpenX's converters to LeRobot"""


class Rlds(Format):
    """Found by its description, and refused with the way to convert it."""

    name = "rlds"
    title = "RLDS (to be converted)"

    def detect(self, path: Path) -> bool:
        """By the description that TensorFlow Datasets writes, here or one folder down."""
        return path.is_dir() and bool([*path.glob("features.json"), *path.glob("*/features.json")])

    def read(
        self, path: Path, rule: ReadingRule, cameras: Sequence[str] | None = (), store: RowStore | None = None
    ) -> Dataset:
        """Raises InputError, always."""
        place = path if (path / "features.json").exists() else next(iter(sorted(path.glob("*/features.json")))).parent
        raise InputError(f"{path}: found RLDS, expected it {' '.join(_HOW.format(path=str(place)).split())}")
