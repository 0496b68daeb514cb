"""Public names and options are a promise: this says when one changes.

After a change that is meant: `python -m tests.test_public` writes the list anew; say it in CHANGELOG.md.
"""

import dataclasses
from pathlib import Path

import burnish
from burnish import cli, options
from burnish.recipes.comparing import NewComparison
from burnish.recipes.data_commands import ConvertOptions, InspectOptions
from burnish.recipes.runs import NewRun
from burnish.recipes.sweeping import NewSweep

LIST = Path(__file__).parent / "public.txt"
OPTIONS = {
    "demo": options.DemoOptions,
    "run": NewRun,
    "compare": NewComparison,
    "sweep": NewSweep,
    "export": options.ExportOptions,
    "serve": options.ServeOptions,
    "studio": options.StudioOptions,
    "data inspect": InspectOptions,
    "data convert": ConvertOptions,
    "STAGE": options.StageOptions,
}


def public() -> list[str]:
    """Names of the package, commands, and the options of each (of nested ones and the configuration: their names)."""
    names = [f"burnish.{name}" for name in burnish.__all__]
    names += [f"burnish {command}" for command in cli.COMMANDS]
    for command, each in OPTIONS.items():
        names += [f"burnish {command} --{field.name.replace('_', '-')}" for field in dataclasses.fields(each)]
    return sorted(names)


def test_public_names_and_options_are_the_promised_ones():
    assert public() == LIST.read_text().splitlines(), __doc__


if __name__ == "__main__":
    LIST.write_text("\n".join(public()) + "\n")
