"""Values against the types of a dataclass or ``TypedDict``. An unknown type passes."""

from __future__ import annotations

import collections.abc
import enum
import sys
import types
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Dict, FrozenSet, Iterable, Literal, Tuple, TypeVar, Union
from typing import get_args, get_origin, get_type_hints

from ._models import model
from ._refused import Refused, Validator
from ._values import fields, is_dataclass

if TYPE_CHECKING:
    from ._json import Default
    from ._refused import Issues

UNIONS = (Union, getattr(types, "UnionType", Union))
LISTS = (list, tuple, collections.abc.Sequence, collections.abc.Iterable)
SETS = (set, frozenset, collections.abc.Set, collections.abc.MutableSet)
_SCALARS = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}
_PLAIN = (str, int, float, bool, type(None))
_DICTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


class Own(Validator):
    """A dataclass, whose instances are made of dicts, or a ``TypedDict``."""

    def __init__(self, kind: Any) -> None:
        """Raises NameError or TypeError for types that cannot be resolved."""
        self._kind = kind
        hints(kind)

    def validate(self, value: Any) -> Any:
        issues = _issues(value, self._kind, "")
        if issues:
            raise Refused(issues)
        kind = get_origin(self._kind) or self._kind
        if is_typed_dict(kind) or isinstance(value, kind):
            return value
        try:
            return kind(**value)
        except (TypeError, ValueError) as error:
            raise Refused.for_error([], error) from error

    def plain(self, value: Any, default: Default) -> Any:
        return declared(value, self._kind, default)


def is_typed_dict(kind: Any) -> bool:
    """Whether this is a ``TypedDict`` class."""
    return isinstance(kind, type) and issubclass(kind, dict) and hasattr(kind, "__total__")


@lru_cache(maxsize=1024)
def hints(kind: Any) -> Dict[str, Any]:
    """The types of the fields, of ``Box[int]`` too."""
    origin = get_origin(kind)
    if origin is None:
        return get_type_hints(kind)
    given = dict(zip(getattr(origin, "__parameters__", ()), get_args(kind)))
    return {name: _with(hint, given) for name, hint in hints(origin).items()}


def _with(hint: Any, given: Dict[Any, Any]) -> Any:
    """A type with its variables replaced."""
    if isinstance(hint, TypeVar):
        return given.get(hint, hint)
    variables = getattr(hint, "__parameters__", ())
    return hint[tuple(given.get(v, v) for v in variables)] if variables else hint


def declared(value: Any, hint: Any, default: Default) -> Any:
    """A value that fits its type as what JSON can write. An instance of a subclass has the fields
    of the declared class alone.
    """
    if type(value) in _PLAIN:
        return value
    hint, origin, arguments = _parts(hint)
    other = model(hint)
    if other is not None:
        return other.plain(other.validate(value), default)
    if origin in UNIONS:
        choice = _chosen(value, arguments)
        return value if choice is None else declared(value, choice, default)
    if is_dataclass(origin or hint) and isinstance(value, origin or hint):
        of = hints(hint)
        own = [field.name for field in fields(origin or hint)]
        return {name: declared(getattr(value, name), of[name], default) for name in own}
    if isinstance(value, collections.abc.Mapping):
        return _declared_dict(value, hint, default)
    if isinstance(value, (list, tuple)) and arguments:
        each = _each(value, origin, arguments)
        return [declared(item, item_hint, default) for item, item_hint in each]
    return value


def _declared_dict(value: Any, hint: Any, default: Default) -> Any:
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if is_typed_dict(origin) or is_dataclass(origin):
        of = hints(hint)
        return {name: declared(value[name], of[name], default) for name in value if name in of}
    if origin in _DICTS and len(arguments) == 2:
        return {name: declared(value[name], arguments[1], default) for name in value}
    return value


def _chosen(value: Any, choices: Tuple[Any, ...]) -> Any:
    """The type of a union that a value has: its own class, or the first one that it fits."""
    for choice in choices:
        bare = unwrapped(choice)
        if (get_origin(bare) or bare) is type(value) and not get_args(bare):
            return choice
    return next((choice for choice in choices if not _issues(value, choice, "")), None)


def _issues(value: Any, hint: Any, path: str) -> Issues:
    if isinstance(hint, type) and hint in _SCALARS:
        return _scalar(value, hint, path)
    hint, origin, arguments = _parts(hint)
    if hint is None or hint is type(None):
        return [] if value is None else [(path, f"not null but {_named(value)}")]
    if isinstance(hint, type) and hint in _SCALARS:
        return _scalar(value, hint, path)
    if origin in UNIONS:
        return _union(value, arguments, path)
    if origin is Literal:
        return [] if value in arguments else [(path, _not_among(value, arguments))]
    if origin in LISTS or hint in (list, tuple):
        return _list(value, origin or hint, arguments, path)
    if origin in _DICTS or hint is dict:
        return _dict(value, arguments, path)
    if is_typed_dict(origin or hint):
        return _typed_dict(value, hint, path)
    other = model(hint)
    if other is not None:
        return _of_model(value, other, path)
    if is_dataclass(origin or hint):
        return _dataclass(value, hint, path)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        fits = isinstance(value, hint) or any(value == member.value for member in hint)
        values = [member.value for member in hint]
        return [] if fits else [(path, f"no {hint.__name__}: {_not_among(value, values)}")]
    return []


def _of_model(value: Any, other: Validator, path: str) -> Issues:
    try:
        other.validate(value)
    except Refused as refused:
        return [(path + at, text) for at, text in refused.issues]
    return []


def _typed_dict(value: Any, hint: Any, path: str) -> Issues:
    if not isinstance(value, collections.abc.Mapping):
        return [(path, f"not a dict but {_named(value)}")]
    return _fields(value, hints(hint), _required(hint), path)


@lru_cache(maxsize=1024)
def _required(hint: Any) -> FrozenSet[str]:
    """The names that a ``TypedDict`` has to have."""
    required = set((get_origin(hint) or hint).__required_keys__)
    for name, of in hints(hint).items():
        # Before 3.11 `typing` leaves these to whoever reads the types.
        marked = getattr(get_origin(of), "_name", None)
        if marked == "NotRequired":
            required.discard(name)
        elif marked == "Required":
            required.add(name)
    return frozenset(required)


def _dataclass(value: Any, hint: Any, path: str) -> Issues:
    """The issues of an instance, or of a dict of one."""
    kind: Any = get_origin(hint) or hint
    own = list(fields(kind))
    if isinstance(value, kind):
        value = {field.name: getattr(value, field.name) for field in own}
    else:
        own = [field for field in own if field.init]
    if not isinstance(value, collections.abc.Mapping):
        return [(path, f"neither a {kind.__name__} nor a dict but {_named(value)}")]
    missing: Any = sys.modules["dataclasses"].MISSING
    required = {f.name for f in own if f.default is missing and f.default_factory is missing}
    of = hints(hint)
    return _fields(value, {field.name: of[field.name] for field in own}, required, path)


def _fields(value: Any, fields: Dict[str, Any], required: Any, path: str) -> Issues:
    issues: Issues = []
    for name in fields:
        if name in value:
            issues += _issues(value[name], fields[name], f"{path}/{name}")
        elif name in required:
            issues.append((f"{path}/{name}", "is missing"))
    issues += [(f"{path}/{name}", "there is no such field") for name in value if name not in fields]
    return issues


def _scalar(value: Any, hint: Any, path: str) -> Issues:
    accepted: Any = (int, float) if hint is float else hint
    fits = isinstance(value, accepted) and (hint is bool or not isinstance(value, bool))
    return [] if fits else [(path, f"not {_SCALARS[hint]} but {_named(value)}")]


def _union(value: Any, choices: Tuple[Any, ...], path: str) -> Issues:
    tried = [_issues(value, choice, path) for choice in choices]
    if any(not issues for issues in tried):
        return []
    # A type whose outer shape fits is nearer than one whose shape does not.
    return min(tried, key=lambda issues: any(at == path for at, _ in issues))


def _list(value: Any, kind: Any, arguments: Tuple[Any, ...], path: str) -> Issues:
    if not isinstance(value, (list, tuple)):
        return [(path, f"not a list but {_named(value)}")]
    if kind is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            return [(path, f"not {len(arguments)} items but {len(value)}")]
    each = enumerate(_each(value, kind, arguments))
    return [issue for n, (item, hint) in each for issue in _issues(item, hint, f"{path}/{n}")]


def _each(value: Any, kind: Any, arguments: Tuple[Any, ...]) -> Any:
    """The items with their types."""
    if kind is tuple and arguments and arguments[-1] is not Ellipsis:
        return zip(value, arguments)
    return [(item, arguments[0]) for item in value] if arguments else []


def _dict(value: Any, arguments: Tuple[Any, ...], path: str) -> Issues:
    if not isinstance(value, collections.abc.Mapping):
        return [(path, f"not a dict but {_named(value)}")]
    if len(arguments) != 2:
        return []
    return [i for name in value for i in _issues(value[name], arguments[1], f"{path}/{name}")]


def _parts(hint: Any) -> Tuple[Any, Any, Tuple[Any, ...]]:
    """A type unwrapped, its origin and its arguments."""
    try:
        return _kept_parts(hint)
    except TypeError:  # of what an Annotated or a Literal holds, which has no hash
        return _kept_parts.__wrapped__(hint)


@lru_cache(maxsize=4096)
def _kept_parts(hint: Any) -> Tuple[Any, Any, Tuple[Any, ...]]:
    bare = unwrapped(hint)
    return bare, get_origin(bare), get_args(bare)


def unwrapped(hint: Any) -> Any:
    """A type without what says something about it: Annotated, Required, NewType, an alias, ..."""
    while True:
        origin = get_origin(hint)
        wraps = getattr(origin, "_name", None) in ("Required", "NotRequired", "ReadOnly", "Final")
        if hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        elif hasattr(hint, "__metadata__"):
            hint = hint.__origin__
        elif origin is not None and wraps:
            hint = get_args(hint)[0]
        elif type(hint).__name__ == "TypeAliasType" and hasattr(hint, "__value__"):
            hint = hint.__value__
        else:
            return hint


def _not_among(value: Any, choices: Iterable[Any]) -> str:
    shown = ", ".join(f"{choice!r:.60}" for choice in choices)
    return f"{value!r:.60} is not one of {shown}"


def _named(value: Any) -> str:
    names = {type(None): "null", str: "text", dict: "an object", list: "a list"}
    return names.get(type(value), type(value).__name__)
