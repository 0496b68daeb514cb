"""How OpenMP's threads wait is said before PyTorch is imported, and only where nobody has said it."""

import os
import subprocess
import sys

import pytest

NAMES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
SAYS = "import burnish, os, sys; print('torch' in sys.modules, *(os.environ.get(n) for n in sys.argv[1:]))"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, "False 1000 None"),
        ({"GOMP_SPINCOUNT": "7"}, "False 7 None"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "False None ACTIVE"),
    ],
)
def test_the_users_own_setting_wins(said, expected):
    kept = {name: value for name, value in os.environ.items() if name not in NAMES}
    command = [sys.executable, "-c", SAYS, *NAMES]
    done = subprocess.run(command, env={**kept, **said}, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == expected
