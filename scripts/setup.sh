#!/bin/sh
# Set up Burnish in .venv: Python packages (torch pinned by constraints.txt) and, for the videos, rendering libraries.
# Run it from anywhere, as often as you like; when nothing changed it returns at once.
set -eu
cd "$(dirname "$0")/.."

VENV=.venv
STAMP=$VENV/.burnish-setup

# What MuJoCo needs to draw without a display: EGL, OpenGL, and Mesa's software renderer behind them.
RENDERING_PACKAGES="libegl1 libegl-mesa0 libgl1 libopengl0 libgl1-mesa-dri"

say() { printf '%s\n' "setup: $*"; }
fail() { printf '%s\n' "setup: error: $*" >&2; exit 1; }

# Run a command as root if we may without being asked for a password.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then sudo -n "$@"
    else return 1
    fi
}

apt_install() {
    command -v apt-get >/dev/null 2>&1 || return 1
    as_root apt-get update -qq </dev/null || true
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null
}

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if is_recent "$candidate"; then command -v "$candidate"; return 0; fi
    done
    return 1
}

# The stamp holds a hash of everything that the environment is made from.
wanted() {
    "$1" -c 'import hashlib, os, sys
files = ("pyproject.toml", "plugins/calvin/pyproject.toml", "constraints.txt", "scripts/setup.sh")
content = b"".join(open(name, "rb").read() for name in files)
print(hashlib.sha256(content + os.getcwd().encode() + sys.version.encode()).hexdigest())'
}

can_render() {
    MUJOCO_GL=egl $VENV/bin/python -c 'import mujoco
context = mujoco.GLContext(16, 16)
context.make_current()
mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), mujoco.mjtFontScale.mjFONTSCALE_100)
context.free()' >/dev/null 2>&1
}

if [ -x $VENV/bin/burnish ] && [ -f $STAMP ] && [ "$(cat $STAMP)" = "$(wanted $VENV/bin/python 2>/dev/null)" ]; then
    exit 0
fi

# An environment whose Python is gone or too old is of no use.
if ! is_recent $VENV/bin/python; then
    python=$(find_python) || fail "Burnish needs Python 3.11 or newer; install it, or name one: make setup PYTHON=/path/to/python3"
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        say "$python lacks the venv module; installing $package"
        apt_install "$package" || fail "$python cannot make virtual environments; install the system package $package and run this again"
    fi
    say "making $VENV with $python"
    rm -rf $VENV
    "$python" -m venv $VENV || fail "cannot make the virtual environment $VENV"
fi
if ! $VENV/bin/python -m pip --version >/dev/null 2>&1; then
    $VENV/bin/python -m ensurepip || fail "$VENV has no pip; remove $VENV and run this again"
fi

rm -f $STAMP
say "installing torch (pinned by constraints.txt)"
$VENV/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch </dev/null
say "installing Burnish with the extras metaworld, hdf5, zarr, export, serve, studio, slurm, docs and dev"
$VENV/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[metaworld,hdf5,zarr,export,serve,studio,slurm,docs,dev]' </dev/null
say "installing the suite of CALVIN's tasks (calvin_env itself: docs/calvin.md)"
$VENV/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e plugins/calvin </dev/null

if [ "$(uname)" = Linux ] && ! can_render; then
    say "installing rendering libraries: $RENDERING_PACKAGES"
    # shellcheck disable=SC2086  # the list is meant to be split
    if ! apt_install $RENDERING_PACKAGES || ! can_render; then
        say "videos cannot be drawn on this machine: MuJoCo finds no EGL renderer. Everything else works."
        say "To get videos, install the system packages (Debian and Ubuntu names): $RENDERING_PACKAGES"
    fi
fi

if [ -n "${CI:-}" ] && ! command -v chromium >/dev/null 2>&1 && ! command -v google-chrome >/dev/null 2>&1; then
    say "installing chromium, for the tests of the studio"
    apt_install chromium || say "no chromium: the tests of the studio in a browser are skipped"
fi

wanted $VENV/bin/python >$STAMP
say "done: $VENV/bin/burnish"
