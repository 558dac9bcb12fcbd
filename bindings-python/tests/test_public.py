"""What is public is named as users import it, and typed."""

import copy
import dataclasses
import inspect
import pickle
import traceback
import typing

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
