"""Actors for workers, which import them by name."""

import os
import signal

from burnish.simulators.experts import RandomActor


class DiesOnce(RandomActor):
    """Its first worker is killed; the marker says that there was one."""

    def __init__(self, marker):
        super().__init__()
        self.marker = marker

    def begin(self, env, seeds):
        if not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        super().begin(env, seeds)
