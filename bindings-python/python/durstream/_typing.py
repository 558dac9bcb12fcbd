"""``typing`` for annotations, loaded once somebody resolves one: it takes longer than all of this package.

Type checkers read ``_typing.pyi``.
"""

from __future__ import annotations

from types import GenericAlias

TYPE_CHECKING = False


class Generic:
    """A base whose classes take types."""

    __class_getitem__ = classmethod(GenericAlias)


def overload(function):
    """The function itself: that behind the last one is called."""
    return function


def __getattr__(name):
    if name.startswith("__"):  # the import of a module looks for some
        raise AttributeError(name)
    import typing

    return getattr(typing, name)
