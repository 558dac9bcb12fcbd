"""What is public is named as users import it, and typed."""

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
import traceback
import typing
from pathlib import Path

import durstream
import pytest
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


def fresh(program):
    """What a program prints in a Python that has loaded next to nothing, and finds the package alone."""
    start = f"import sys; sys.path.insert(0, {str(Path(durstream.__file__).parent.parent)!r})\n"
    command = [sys.executable, "-I", "-S", "-c", start + program]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


SLOW = {"asyncio", "dataclasses", "datetime", "decimal", "enum", "functools", "inspect", "json", "logging",
        "platform", "re", "threading", "typing", "uuid"}


@pytest.mark.parametrize("statement", ["import durstream", "from durstream import DurableStream"])
def test_importing_loads_nothing_that_takes_long(statement):
    loaded = fresh(f"{statement}\nprint(*sys.modules)").split()
    assert "durstream._stream" in loaded
    assert SLOW.isdisjoint(loaded)


def test_what_was_not_loaded_is_there_once_it_is_asked_for():
    assert fresh("""
import durstream
assert set(durstream.__all__) <= set(dir(durstream))
import dataclasses, typing
assert dataclasses.asdict(durstream.CloseResult("1")) == {"final_offset": "1"}
for found in durstream.CloseResult, durstream.CloseResult.__init__:
    assert typing.get_type_hints(found)["final_offset"] == typing.Optional[str]
assert typing.get_type_hints(durstream.flush_all)["timeout"] == typing.Optional[float]
assert typing.get_type_hints(durstream.DurableStream.append)["message"] is typing.Any
assert typing.get_type_hints(durstream.ValidationError)["issues"] == typing.Tuple[durstream.Issue, ...]
shipments = durstream.Collection[int]
assert typing.get_origin(shipments) is durstream.Collection and typing.get_args(shipments) == (int, int)
assert typing.get_args(durstream.StateProducer[int]) == (int,)
from durstream import *
assert Stats is durstream.Stats and Stats.__module__ == "durstream"
assert typing.get_type_hints(Stats)["batch_bytes"] is Distribution
print("all")
""") == "all\n"


def test_what_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'durstream' has no attribute 'Statistics'"):
        durstream.Statistics
