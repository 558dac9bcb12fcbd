"""Classes of Python's modules, without loading these: they would take longer than all of this package.

``dataclass`` is that of ``dataclasses``, which imports ``inspect``. A class has what its users see,
and gets its fields from the module once somebody asks for them, as ``dataclasses.asdict`` does.
"""

from __future__ import annotations

import sys

from . import _typing as typing
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(*, frozen: bool) -> typing.Callable[[type], type]:
        assert frozen, "every value is"
        return _made


def _made(cls: typing.Type[typing.Any]) -> typing.Type[typing.Any]:
    types = cls.__annotations__
    defaults = {name: getattr(cls, name) for name in types if hasattr(cls, name)}
    own: typing.Dict[str, typing.Any] = {
        "match_args": tuple(types),
        "init": _init(cls, types, defaults),
        "repr": _repr,
        "eq": _eq,
        "hash": _hash,
        "setattr": _setattr,
        "delattr": _delattr,
        "dataclass_fields": _Fields(cls, defaults),
    }
    for name, value in own.items():
        setattr(cls, f"__{name}__", value)
    return cls


def _init(cls: typing.Type[typing.Any], types: typing.Dict[str, typing.Any], defaults: typing.Dict[str, typing.Any]) -> typing.Any:
    given = [f"{name}=defaults[{name!r}]" if name in defaults else name for name in types]
    kept = ", ".join(f"{name}={name}" for name in types)
    made: typing.Dict[str, typing.Any] = {"defaults": defaults}
    body = f"def __init__(self, {', '.join(given)}):\n    self.__dict__.update({kept})"
    exec(body, vars(sys.modules[cls.__module__]), made)
    init = made["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__annotations__ = {**types, "return": None}
    return init


def _values(self: typing.Any) -> typing.Tuple[typing.Any, ...]:
    return tuple([getattr(self, name) for name in self.__match_args__])


def _repr(self: typing.Any) -> str:
    shown = zip(self.__match_args__, _values(self))
    return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in shown)})"


def _eq(self: typing.Any, other: object) -> typing.Any:
    return _values(self) == _values(other) if type(other) is type(self) else NotImplemented


def _hash(self: typing.Any) -> int:
    return hash(_values(self))


def _setattr(self: typing.Any, name: str, value: object) -> typing.NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delattr(self: typing.Any, name: str) -> typing.NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot delete field {name!r}")


def is_dataclass(kind: typing.Any) -> bool:
    """Whether this is a dataclass, and not an instance of one."""
    return isinstance(kind, type) and hasattr(kind, "__dataclass_fields__")


def fields(kind: typing.Any) -> typing.Tuple[typing.Any, ...]:
    """The fields of a dataclass."""
    found: typing.Tuple[typing.Any, ...] = sys.modules["dataclasses"].fields(kind)
    return found


def classes(module: str, *names: str) -> typing.Tuple[typing.Any, ...]:
    """Classes of a module of Python's; none where it is not loaded, since no value is of them then."""
    found = sys.modules.get(module)
    return tuple([getattr(found, name) for name in names if hasattr(found, name)])


class _Fields:
    """The fields of a class, found out when they are asked for."""

    def __init__(self, cls: typing.Type[typing.Any], defaults: typing.Dict[str, typing.Any]) -> None:
        self._cls = cls
        self._defaults = defaults

    def __get__(self, instance: object, owner: typing.Type[typing.Any]) -> typing.Any:
        import dataclasses

        cls = self._cls
        body = {"__annotations__": cls.__annotations__, **self._defaults}
        same: typing.Any = dataclasses.dataclass(frozen=True)(type(cls.__name__, (), body))
        for name in ("__dataclass_params__", "__replace__"):  # the second from Python 3.13 on
            if hasattr(same, name):
                setattr(cls, name, getattr(same, name))
        cls.__dataclass_fields__ = same.__dataclass_fields__
        return cls.__dataclass_fields__
