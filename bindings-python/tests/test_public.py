"""What is public is named as users import it, and typed."""

import copy
import dataclasses
import inspect
import pickle
import traceback
import typing

import durstream
import pytest
from conftest import run_python
from durstream import _errors

PUBLIC = [getattr(durstream, name) for name in durstream.__all__]


@pytest.mark.parametrize("public", PUBLIC, ids=durstream.__all__)
def test_names_are_those_that_users_import(public):
    assert public.__module__ == "durstream"
    assert getattr(durstream, public.__qualname__) is public
    if inspect.isclass(public):
        assert f"durstream.{public.__name__}" in repr(public)
    if dataclasses.is_dataclass(public):
        assert set(typing.get_type_hints(public)) >= {f.name for f in dataclasses.fields(public)}


def test_tracebacks_say_them():
    with pytest.raises(durstream.InvalidArgumentError) as raised:
        durstream.set_exit_timeout(-1)
    shown = "".join(traceback.format_exception_only(raised.type, raised.value))
    assert shown.startswith("durstream.InvalidArgumentError: `seconds` takes")


@pytest.mark.parametrize("kind", _errors.LEAVES.values(), ids=_errors.LEAVES)
@pytest.mark.parametrize("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_errors_are_copied_with_all_they_say(kind, again):
    error = kind("text", url="http://h/a", cause=durstream.TransportError("why"))
    outcome = durstream.Outcome("cancelled", "expired", error=error)
    error.failure = durstream.Failure(3, b"x", outcome)
    error.receipts = [object()]
    found = again(error)
    assert type(found) is kind and str(found) == "text (http://h/a)"
    assert isinstance(found.__cause__, durstream.TransportError)
    assert (found.failure.id, found.failure.payload) == (3, b"x")
    assert found.failure.outcome.status == "cancelled" and found.receipts == ()


VALUES = [public for public in PUBLIC if dataclasses.is_dataclass(public)]


def made_by_python(value):
    """The class as ``dataclasses`` itself makes it."""
    body = {name: getattr(value, name) for name in value.__annotations__ if hasattr(value, name)}
    body["__annotations__"] = value.__annotations__
    return dataclasses.dataclass(frozen=True)(type(value.__name__, (), body))


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_values_are_what_dataclasses_makes(value):
    same = made_by_python(value)
    assert str(inspect.signature(value)) == str(inspect.signature(same))
    described = [[(f.name, f.type, f.default, f.init) for f in dataclasses.fields(k)] for k in (value, same)]
    assert described[0] == described[1] != []
    assert value.__match_args__ == tuple(name for name, *_ in described[0])
    given = [f"v{n}" for n in range(len(described[0]))]
    ours, theirs = value(*given), same(*given)
    assert repr(ours) == repr(theirs).replace(same.__qualname__, value.__qualname__)
    assert hash(ours) == hash(theirs) and ours != theirs
    assert ours == value(**dict(zip((name for name, *_ in described[0]), given)))
    assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
    changed = dataclasses.replace(ours, **{described[0][0][0]: "other"})
    assert changed != ours and type(changed) is value
    assert copy.deepcopy(ours) == ours == pickle.loads(pickle.dumps(ours))
    for change in (lambda: setattr(ours, described[0][0][0], 1), lambda: delattr(ours, described[0][0][0])):
        with pytest.raises(dataclasses.FrozenInstanceError):
            change()


def test_a_value_may_be_a_base():
    @dataclasses.dataclass(frozen=True)
    class Told(durstream.FlushReport):
        by: str = ""

    assert dataclasses.asdict(Told(delivered=1, by="x")) == {
        "delivered": 1, "duplicates": 0, "uncertain": 0, "refused": 0, "by": "x"
    }


SLOW = ["asyncio", "dataclasses", "datetime", "decimal", "inspect", "platform", "uuid"]


def test_importing_loads_nothing_that_takes_long():
    program = """
import sys
before = set(sys.modules)
import durstream
print(sorted((set(sys.modules) - before) & set(sys.argv[1:])))
dataclasses = __import__("dataclasses")
assert dataclasses.asdict(durstream.CloseResult("1")) == {"final_offset": "1"}
"""
    out, _ = run_python(program, *SLOW)
    assert out.strip() == "[]"
