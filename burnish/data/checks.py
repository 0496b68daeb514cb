"""One sentence for every kind of bad data: where it is, what was found and what was expected."""

from burnish.errors import InputError


def bad_input(where: object, found: str, expected: str, *, field: str = "", episode: int | None = None) -> InputError:
    """The error for a wrong piece of data (returned, so that the caller's `raise` stays visible).

    Args:
        where: the file or the object that holds the data.
        found: what is there.
        expected: what should be there.
        field: the column, key or attribute, when there is one.
        episode: the episode's index, when the fault belongs to one.
    """
    place = str(where)
    if episode is not None:
        place += f", episode {episode}"
    if field:
        place += f", field '{field}'"
    return InputError(f"{place}: found {found}, expected {expected}")
