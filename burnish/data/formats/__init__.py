"""Formats of data sets, one file each; a format is found by what lies in a folder, not by its name."""

from burnish.data.formats.base import Format, ReadingRule, format_of, formats
from burnish.data.formats.lerobot import LeRobot

__all__ = ["Format", "LeRobot", "ReadingRule", "format_of", "formats"]
