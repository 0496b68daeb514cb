"""Formats of data sets, one file each; a format is found by what lies in a folder, not by its name."""

from burnish.data.formats.aloha import Aloha
from burnish.data.formats.base import Format, ReadingRule, SourceFormat, format_of, formats
from burnish.data.formats.calvin import Calvin
from burnish.data.formats.lerobot import LeRobot, LeRobotV2
from burnish.data.formats.minari import Minari
from burnish.data.formats.npz import Npz
from burnish.data.formats.replay_buffer import ReplayBuffer
from burnish.data.formats.rlds import Rlds
from burnish.data.formats.robomimic import Robomimic

__all__ = [
    "Aloha",
    "Calvin",
    "Format",
    "LeRobot",
    "LeRobotV2",
    "Minari",
    "Npz",
    "ReadingRule",
    "ReplayBuffer",
    "Rlds",
    "Robomimic",
    "SourceFormat",
    "format_of",
    "formats",
]
