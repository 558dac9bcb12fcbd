"""Values against the types of a dataclass or ``TypedDict``. An unknown type passes."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import types
from typing import Any, Dict, List, Literal, Tuple, Union, get_args, get_origin, get_type_hints

Issues = List[Tuple[str, str]]

_UNIONS = (Union, getattr(types, "UnionType", Union))
_SCALARS = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}
_LISTS = (list, tuple, collections.abc.Sequence, collections.abc.Iterable)
_DICTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def is_typed_dict(kind: Any) -> bool:
    """Whether this is a ``TypedDict`` class."""
    return isinstance(kind, type) and issubclass(kind, dict) and hasattr(kind, "__total__")


def hints(kind: Any) -> Dict[str, Any]:
    """The types of the fields."""
    return get_type_hints(kind)


def typed_dict_issues(value: Any, kind: Any, fields: Dict[str, Any], path: str = "") -> Issues:
    """The issues of a value as a ``TypedDict``."""
    if not isinstance(value, collections.abc.Mapping):
        return [(path, f"not a dict but {_named(value)}")]
    return _fields(value, fields, set(kind.__required_keys__), path)


def dataclass_issues(value: Any, kind: Any, fields: Dict[str, Any], path: str = "") -> Issues:
    """The issues of a value as a dataclass or as the dict of one."""
    declared = list(dataclasses.fields(kind))
    if isinstance(value, kind):
        value = {field.name: getattr(value, field.name) for field in declared}
    else:
        declared = [field for field in declared if field.init]
    if not isinstance(value, collections.abc.Mapping):
        return [(path, f"neither a {kind.__name__} nor a dict but {_named(value)}")]
    missing = dataclasses.MISSING
    required = {f.name for f in declared if f.default is missing and f.default_factory is missing}
    return _fields(value, {f.name: fields[f.name] for f in declared}, required, path)


def _fields(value: Any, fields: Dict[str, Any], required: Any, path: str) -> Issues:
    issues: Issues = []
    for name in fields:
        if name in value:
            issues += _issues(value[name], fields[name], f"{path}/{name}")
        elif name in required:
            issues.append((f"{path}/{name}", "is missing"))
    issues += [(f"{path}/{name}", "there is no such field") for name in value if name not in fields]
    return issues


def _issues(value: Any, hint: Any, path: str) -> Issues:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is None or hint is type(None):
        return [] if value is None else [(path, f"not null but {_named(value)}")]
    if isinstance(hint, type) and hint in _SCALARS:
        return _scalar(value, hint, path)
    if origin in _UNIONS:
        return _union(value, arguments, path)
    if origin is Literal:
        shown = ", ".join(map(repr, arguments))
        return [] if value in arguments else [(path, f"none of {shown}")]
    if origin in _LISTS or hint in (list, tuple):
        return _list(value, origin or hint, arguments, path)
    if origin in _DICTS or hint is dict:
        return _dict(value, arguments, path)
    if is_typed_dict(hint):
        return typed_dict_issues(value, hint, hints(hint), path)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return dataclass_issues(value, hint, hints(hint), path)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        fits = isinstance(value, hint) or any(value == member.value for member in hint)
        return [] if fits else [(path, f"no {hint.__name__}")]
    if hasattr(hint, "__supertype__"):
        return _issues(value, hint.__supertype__, path)
    if origin is not None and _is_wrapper(origin, hint):
        return _issues(value, arguments[0], path)
    return []


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
        pairs = list(zip(value, arguments))
    else:
        pairs = [(item, arguments[0]) for item in value] if arguments else []
    return [i for n, (item, hint) in enumerate(pairs) for i in _issues(item, hint, f"{path}/{n}")]


def _dict(value: Any, arguments: Tuple[Any, ...], path: str) -> Issues:
    if not isinstance(value, collections.abc.Mapping):
        return [(path, f"not a dict but {_named(value)}")]
    if len(arguments) != 2:
        return []
    return [i for name in value for i in _issues(value[name], arguments[1], f"{path}/{name}")]


def _is_wrapper(origin: Any, hint: Any) -> bool:
    """Whether this says something about its first argument: Annotated, Required, ReadOnly, ..."""
    if hasattr(hint, "__metadata__"):
        return True
    return getattr(origin, "_name", None) in ("Required", "NotRequired", "ReadOnly", "Final")


def _named(value: Any) -> str:
    names = {type(None): "null", str: "text", dict: "an object", list: "a list"}
    return names.get(type(value), type(value).__name__)

