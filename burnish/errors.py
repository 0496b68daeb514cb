"""The two ways in which Burnish says no."""


class BurnishError(Exception):
    """Base of every error that Burnish raises on purpose; its message is meant for the user."""

    exit_code = 1


class InputError(BurnishError):
    """The command or something it was given (data set, checkpoint, configuration, task name) is wrong."""

    exit_code = 2


class RunError(BurnishError):
    """The input was fine, but the run could not go on (disk full, folder read-only, training diverged)."""

    exit_code = 1
