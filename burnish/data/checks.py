"""One sentence for every kind of bad data: where it is, what was found and what was expected."""

from dataclasses import dataclass, field

from burnish.errors import InputError


class EpisodeFault(InputError):
    """What is wrong with one episode, whose number is `episode`; the others may be fine."""

    def __init__(self, message: str, episode: int) -> None:
        """Say what is wrong with which episode."""
        super().__init__(message)
        self.episode = episode


def bad_input(where: object, found: str, expected: str, *, field: str = "", episode: int | None = None) -> InputError:
    """The error for a wrong piece of data (returned, so that the caller's `raise` stays visible).

    Args:
        where: the file or the object that holds the data.
        found: what is there.
        expected: what should be there.
        field: the column, key or attribute, when there is one.
        episode: the episode's index, when the fault belongs to one; the error is an `EpisodeFault` then.
    """
    place = str(where)
    if episode is not None:
        place += f", episode {episode}"
    if field:
        place += f", field '{field}'"
    message = f"{place}: found {found}, expected {expected}"
    return InputError(message) if episode is None else EpisodeFault(message, episode)


@dataclass
class Faults:
    """Bad episodes: collected and left out where `skip` says so, else the first one is the error.

    Attributes:
        skip: whether bad episodes are left out.
        found: the number of each bad episode, and what is wrong with it.
    """

    skip: bool = False
    found: dict[int, str] = field(default_factory=dict)

    def add(self, fault: EpisodeFault) -> None:
        """Note a bad episode.

        Raises:
            InputError: bad episodes are not to be left out.
        """
        if not self.skip:
            raise EpisodeFault(f"{fault} (--skip-bad leaves bad episodes out)", fault.episode) from fault
        self.found.setdefault(fault.episode, str(fault))
