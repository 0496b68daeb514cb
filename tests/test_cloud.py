"""The recipe of the image and the cloud example fit the rest of the repository; neither a cloud nor Docker is here."""

import re
import shlex
import tomllib
from pathlib import Path

import yaml

from burnish.flags import own_and_rest, parse
from burnish.recipes.sweeping import NewSweep, planned

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SKYPILOT = yaml.safe_load((ROOT / "examples" / "skypilot.yaml").read_text())


def test_the_image_has_what_setup_installs():
    wanted = re.findall(r'^RENDERING_PACKAGES="(.+)"$', (ROOT / "scripts" / "setup.sh").read_text(), re.M)[0].split()
    assert len(wanted) > 3 and set(wanted) <= set(DOCKERFILE.split())
    torch = re.findall(r"^torch==.+$", (ROOT / "constraints.txt").read_text(), re.M)
    assert torch == re.findall(r'^ARG TORCH="(.+)"$', DOCKERFILE, re.M)


def test_the_image_installs_extras_that_there_are_from_files_that_there_are():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.findall(r"'\.\[(.+)\]'", DOCKERFILE)[0].split(",")
    assert set(extras) <= set(project["optional-dependencies"])
    copied = [name for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.M) for name in line.split()]
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert copied and all((ROOT / name).exists() and name not in ignored for name in copied)
    least = re.findall(r"\d+", project["requires-python"])
    version = re.findall(r"^FROM python:(\d+)\.(\d+)-", DOCKERFILE, re.M)[0]
    assert [int(part) for part in version] >= [int(part) for part in least]
    assert project["readme"] in copied and "LICENSE" in copied, "what building the package reads"


def test_the_cloud_sweep_is_one_that_burnish_takes():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert [line.split() for line in SKYPILOT["setup"].splitlines()] == [["make", "setup"]] and "setup" in targets
    command, name, recipe, *options = shlex.split(SKYPILOT["run"].replace("\\\n", " "))
    assert (command, name) == (".venv/bin/burnish", "sweep")
    own, rest = own_and_rest(NewSweep(), options)
    new, more = parse(NewSweep(), own, "burnish sweep")
    assert more == [] and len(planned(recipe, new, rest, "").cells) == 6
    # Run folders outlive the machine only in the bucket.
    assert Path(*new.out.parts[:2]).as_posix() in SKYPILOT["file_mounts"]
