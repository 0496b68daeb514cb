"""CALVIN's play table: DiWA's eight skills in calvin_env, scripted play, and CALVIN's own recorded data.

calvin_env is not on PyPI; the user installs it, and `install.py` says how. Nothing of it is copied here.
"""

from burnish_calvin.suite import SUITE

__all__ = ["SUITE"]
