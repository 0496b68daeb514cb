"""State dimensions by the beginnings of their names."""

from collections.abc import Sequence

from burnish.errors import InputError


def dimensions_named(what: str, prefixes: Sequence[str], names: Sequence[str] | None) -> list[int]:
    """Numbers of the state's dimensions whose names begin with one of `prefixes`, in order.

    Raises:
        InputError: a beginning is no dimension's; `what` says which setting it is.
    """
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names or ()):
            found = ", ".join(names) if names else "no names"
            raise InputError(f"{what}: no state dimension begins with '{prefix}'; found {found}")
    return [index for index, name in enumerate(names or ()) if name.startswith(tuple(prefixes))]
