"""Configuration in YAML files."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError

from burnish.config.plain import plain_value, with_type
from burnish.errors import InputError
from burnish.storage import read_bytes, write_bytes_atomic


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping with the safe loader; InputError where the file is missing, not YAML, or not a mapping."""
    text = read_bytes(path)
    try:
        data = _SafeLoader(text).get_single_data()
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a valid YAML file: {reason}") from None
    except RecursionError:
        raise InputError(f"{path}: not a valid YAML file: nested too deeply") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a YAML mapping, found {with_type(data)}")
    return data


def save_yaml(path: str | Path, data: Mapping[str, Any]) -> None:
    """Write plain data as YAML, atomically and in the order given."""
    # Other letters than ASCII are escaped: PyYAML does not read back all of those that it would write plainly.
    text = yaml.dump(plain_value(data, str(path)), Dumper=_SafeDumper, sort_keys=False)
    write_bytes_atomic(path, text.encode())


class _SafeLoader(yaml.SafeLoader):
    """The safe loader, which also reads 1e-4 as a number, as YAML 1.2 does (plain PyYAML wants 1.0e-4).

    Aliases are refused: nine lines of them stand for more than a machine holds.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise ComposerError(
                None, None, f"found the alias *{event.anchor}, expected it written out", event.start_mark
            )
        return super().compose_node(parent, index)


class _SafeDumper(yaml.SafeDumper):
    """The safe dumper, which quotes the texts that the loader would read as numbers."""


for _kind in (_SafeLoader, _SafeDumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )
