"""Typed configuration: frozen dataclasses with ranges, to and from plain data, YAML files and stable hashes.

Configuration that comes from a file is untrusted: it is read with YAML's safe loader, and every field must exist, be
present, have the declared type and lie in its range. Use tuples, not lists, in configuration dataclasses (they are
frozen).
"""

from burnish.config.files import load_yaml, save_yaml
from burnish.config.plain import config_hash, from_dict, plain_value, to_dict
from burnish.config.ranges import Range, check, choices, within

__all__ = [
    "Range",
    "check",
    "choices",
    "config_hash",
    "from_dict",
    "load_yaml",
    "plain_value",
    "save_yaml",
    "to_dict",
    "within",
]
