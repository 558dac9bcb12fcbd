"""Values against models that other libraries validate: pydantic's and msgspec's."""

from __future__ import annotations

import importlib
import re
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Tuple

from ._json import fallback, pydantic_takes_names
from ._refused import Refused, Validator, pointer
from ._values import fields, is_dataclass

if TYPE_CHECKING:
    from ._json import Default
    from ._refused import Issues


def model(kind: Any) -> Optional[Validator]:
    """The validator of a class of pydantic's or msgspec's; None for any other."""
    return _model(kind) if isinstance(kind, type) else None


@lru_cache(maxsize=1024)
def _model(kind: Any) -> Optional[Validator]:
    if is_pydantic(kind):
        return Pydantic(kind)
    return Msgspec(kind) if is_struct(kind) else None


def is_pydantic(kind: Any) -> bool:
    """Whether this is a model or a dataclass of pydantic's."""
    return hasattr(kind, "__pydantic_validator__")


def is_struct(kind: Any) -> bool:
    """Whether this is a struct of msgspec's."""
    return hasattr(kind, "__struct_fields__") and "msgspec" in sys.modules


class Pydantic(Validator):
    """Any type that pydantic's ``TypeAdapter`` takes.

    pydantic takes instances as they are. So they are validated again, which also makes an instance
    of the declared class of what was one of a subclass.
    """

    def __init__(self, kind: Any) -> None:
        """Raises ImportError without pydantic, and pydantic's errors for what it does not take."""
        adapter = importlib.import_module("pydantic").TypeAdapter
        self._adapter = kind if isinstance(kind, adapter) else adapter(kind)
        self._again: Optional[_Again] = None

    def resolve(self) -> None:
        """Raises pydantic's error if a type it names is not there."""
        _schema_of(self._adapter)

    def validate(self, value: Any) -> Any:
        if self._again is None:
            self._again = _Again(self._adapter)  # now: its types may not have been there before
        try:
            return self._adapter.validate_python(self._again.all_in(value, ()))
        except ValueError as error:
            raise Refused.for_error(_pydantic_issues(error, ()), error) from error

    def plain(self, value: Any, default: Default) -> Any:
        return self._adapter.dump_python(
            value, mode="json", by_alias=True, warnings=False, **fallback(default)
        )


class _Again:
    """Validates the instances in a value again, inner ones first, as their declared classes."""

    def __init__(self, adapter: Any) -> None:
        every = {kind: _Class(kind) for kind in _classes_in(_schema_of(adapter))}
        self._classes = {kind: every[kind] for kind in every if every[kind].can_make}

    def all_in(self, value: Any, path: Tuple[Any, ...]) -> Any:
        exact = type(value)
        if exact is dict:
            return {key: self.all_in(value[key], (*path, key)) for key in value}
        if exact in (list, tuple, set, frozenset):
            return exact(self.all_in(item, (*path, n)) for n, item in enumerate(value))
        declared = next((kind for kind in exact.__mro__ if kind in self._classes), None)
        if declared is None:
            return value
        kind = self._classes[declared]
        fields = {key: self.all_in(v, (*path, key)) for key, v in kind.fields_of(value)}
        try:
            return kind.made_of(fields)
        except Refused:
            raise
        except ValueError as error:
            raise Refused.for_error(_pydantic_issues(error, path), error) from error


class _Class:
    """A class whose instances are made again of their fields."""

    def __init__(self, kind: Any) -> None:
        pydantic: Any = importlib.import_module("pydantic")
        self._adapter = pydantic.TypeAdapter(kind)
        self._is_root = issubclass(kind, pydantic.RootModel)
        config: Any = getattr(kind, "model_config", None) or {}
        self._allows_more = config.get("extra") == "allow"
        infos: Any = getattr(kind, "model_fields", None)
        if infos is None:
            infos = getattr(kind, "__pydantic_fields__", {})
        own = [f.name for f in fields(kind) if f.init] if is_dataclass(kind) else infos
        aliases = {name: _alias(infos.get(name)) for name in own}
        plain = all(alias is None or isinstance(alias, str) for alias in aliases.values())
        #: Otherwise its instances stay as they are.
        self.can_make = plain or pydantic_takes_names()
        named = config.get("validate_by_alias") is False
        #: How a field is called when it is validated. Paths into a value are no names.
        self._keys = {
            name: alias if alias and plain and not named else name
            for name, alias in aliases.items()
        }
        self._how: Dict[str, bool] = {} if plain else {"by_name": True, "by_alias": False}

    def fields_of(self, value: Any) -> Iterator[Tuple[str, Any]]:
        missing = object()
        for name, key in self._keys.items():
            field = getattr(value, name, missing)
            if field is not missing:
                yield key, field
        if self._allows_more:
            yield from (getattr(value, "__pydantic_extra__", None) or {}).items()

    def made_of(self, fields: Dict[str, Any]) -> Any:
        given = fields.get("root") if self._is_root else fields
        return self._adapter.validate_python(given, **self._how)


def _alias(info: Any) -> Any:
    """What a field is called when it is validated: a name, a path into a value, or None."""
    alias = getattr(info, "validation_alias", None)
    choices: Any = getattr(alias, "choices", None)
    return choices[0] if choices else alias


def _schema_of(adapter: Any) -> Dict[str, Any]:
    """Raises pydantic's error while a type it names is not there."""
    return dict(adapter.core_schema)  # a stand-in of pydantic's, until then


def _classes_in(schema: Any) -> List[Any]:
    """The classes of models and dataclasses in a schema of pydantic's."""
    found: List[Any] = []
    seen = set()
    left = [schema]
    while left:
        part = left.pop()
        if id(part) in seen or not isinstance(part, (dict, list, tuple)):
            continue
        seen.add(id(part))
        if isinstance(part, dict):
            if part.get("type") in ("model", "dataclass") and isinstance(part.get("cls"), type):
                found.append(part["cls"])
            left.extend(part[name] for name in part if name != "metadata")
        else:
            left.extend(part)
    return found


def _pydantic_issues(error: Any, path: Tuple[Any, ...]) -> Issues:
    found = error.errors(include_url=False) if hasattr(error, "errors") else ()
    return [(pointer((*path, *issue["loc"])), issue["msg"]) for issue in found]


class Msgspec(Validator):
    """Any type that ``msgspec.convert`` takes."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def resolve(self) -> None:
        """Raises msgspec's error for what it does not take."""
        sys.modules["msgspec"].json.Decoder(self._kind)

    def validate(self, value: Any) -> Any:
        msgspec: Any = sys.modules["msgspec"]
        try:
            # The constructor of a struct checks no types, and `convert` no instances.
            return msgspec.convert(msgspec.to_builtins(value), type=self._kind)
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            # "Expected `int`, got `str` - at `$.size`"
            text, _, path = str(error).partition(" - at ")
            parts = re.findall(r"[^.\[\]`$]+", path)
            raise Refused.for_error([(pointer(parts), text)], error) from error

    def plain(self, value: Any, default: Default) -> Any:
        return sys.modules["msgspec"].to_builtins(value, enc_hook=default)
