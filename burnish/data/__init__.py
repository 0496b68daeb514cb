"""Datasets: recorded episodes, LeRobotDataset v3.0 on disk, windows for training, and normalisation.

An `Episode` is what a collector records; `write_dataset` puts episodes on disk and `read_dataset` brings them back, or
anybody's LeRobotDataset, as a `Dataset` of tensors. `Windows` cuts it into training batches on its own device, and a
`Normaliser` is fitted once and saved with every model.
"""

from burnish.data.dataset import Dataset, check_real
from burnish.data.depth import (
    Camera,
    check_depth,
    coloured_camera,
    depth_camera,
    is_shown_key,
    pack_depth,
    read_cameras,
    unpack_depth,
    view_tensors,
)
from burnish.data.episodes import ACTION, IMAGES, STATE, Episode, image_key, is_image_key
from burnish.data.folds import folds
from burnish.data.info import IMAGINED, UNLABELLED, DatasetInfo, Recording, imagined_task
from burnish.data.joining import joined
from burnish.data.lerobot_reader import read_dataset
from burnish.data.lerobot_writer import store_dataset, write_dataset
from burnish.data.normalisation import Normaliser
from burnish.data.outcomes import about_to_succeed, best_episodes, require_outcomes, require_successes
from burnish.data.rows import RowSampler
from burnish.data.scaling import ActionScaling, check_unit
from burnish.data.streams import SequenceBatch, Streams, in_chunks
from burnish.data.success import SuccessRule
from burnish.data.unlabelled import labelled_steps, require_motion, unlabelled_video
from burnish.data.windows import WindowBatch, Windows, action_chunks

__all__ = [
    "ACTION",
    "IMAGES",
    "IMAGINED",
    "STATE",
    "UNLABELLED",
    "ActionScaling",
    "Camera",
    "Dataset",
    "DatasetInfo",
    "Episode",
    "Normaliser",
    "Recording",
    "RowSampler",
    "SequenceBatch",
    "Streams",
    "SuccessRule",
    "WindowBatch",
    "Windows",
    "about_to_succeed",
    "action_chunks",
    "best_episodes",
    "check_depth",
    "check_real",
    "check_unit",
    "coloured_camera",
    "depth_camera",
    "folds",
    "image_key",
    "imagined_task",
    "in_chunks",
    "is_image_key",
    "is_shown_key",
    "joined",
    "labelled_steps",
    "pack_depth",
    "read_cameras",
    "read_dataset",
    "require_motion",
    "require_outcomes",
    "require_successes",
    "store_dataset",
    "unlabelled_video",
    "unpack_depth",
    "view_tensors",
    "write_dataset",
]
