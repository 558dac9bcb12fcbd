"""Types that are no classes as schemas, truths as JSON Schemas, and validators that await."""

import functools
import sys
import threading
from dataclasses import dataclass
from typing import Annotated, Any, Dict, Generic, List, Literal, NewType, Optional, TypeVar, Union

import durstream
import msgspec
import pydantic
import pytest
from conftest import SHIPMENTS, run_python, values
from durstream import define_stream_schema
from typing_extensions import TypeAliasType, TypedDict

T = TypeVar("T")


class Box(pydantic.BaseModel):
    id: str
    kind: Literal["box"]


class Bag(pydantic.BaseModel):
    id: str
    kind: Literal["bag"]


@dataclass
class Parcel:
    id: str
    kind: Literal["box", "bag"] = "box"


class BoxStruct(msgspec.Struct, tag="box", tag_field="kind"):
    id: str


class BagStruct(msgspec.Struct, tag="bag", tag_field="kind"):
    id: str


class Untagged(msgspec.Struct):
    id: str


@dataclass
class Generic_(Generic[T]):
    id: str
    kind: T


class GenericDict(TypedDict, Generic[T]):
    id: str
    kind: T


BOX = {"id": "a", "kind": "box"}

TYPES = [
    Union[Box, Bag],
    Union[Parcel, Bag],
    Optional[Box],
    Annotated[Box, "noted"],
    Annotated[Union[Box, Bag], pydantic.Field(discriminator="kind")],
    pydantic.TypeAdapter(Union[Box, Bag]),
    Dict[str, Literal["a", "box"]],
    Dict[str, str],
    NewType("Named", Box),
    NewType("NamedParcel", Parcel),
    TypeAliasType("Alias", Union[Box, Bag]),
    Union[BoxStruct, BagStruct],
    Annotated[BoxStruct, "noted"],
    Generic_[Literal["box"]],
    GenericDict[Literal["box"]],
]
if sys.version_info >= (3, 10):
    TYPES += [Box | Bag, Parcel | None, dict[str, str]]


@pytest.mark.parametrize("schema", TYPES, ids=lambda kind: str(kind)[:50])
def test_types_validate(opened, url, schema):
    producer = opened(schema)
    assert producer.upsert("shipments", dict(BOX)).wait().delivered
    assert producer.upsert("shipments", '{"id":"a","kind":"box"}').wait().delivered
    assert values(url) == [BOX, BOX]
    outcome = producer.upsert("shipments", {"id": "a", "kind": 5}).outcome
    assert outcome.reason == "invalid-value"
    assert any("kind" in issue.path or issue.path == "" for issue in outcome.error.issues)


def test_they_take_instances(opened, url):
    producer = opened(Union[Box, Parcel])
    assert producer.upsert("shipments", Box(id="a", kind="box")).wait().delivered
    assert producer.upsert("shipments", Parcel("b", "bag")).wait().delivered
    assert values(url) == [BOX, {"id": "b", "kind": "bag"}]
    bag = Bag(id="a", kind="bag").model_copy(update={"id": 5})
    assert not producer.upsert("shipments", bag).accepted


class Callable_:
    async def __call__(self, value: Any) -> Any:
        return value


async def coroutine(value: Any) -> Any:
    return value


async def generator(value: Any) -> Any:
    yield value


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (List[Box], "an entity is one"),
        (Literal["a"], "an entity is one"),
        (Optional[int], "an entity is one"),
        (Annotated[List[int], "x"], "an entity is one"),
        (NewType("Number", int), "not <class 'int'>"),
        (Dict[str, "Nowhere"], "Nowhere"),  # noqa: F821
        (Union[Box, BoxStruct], "custom type"),
        (Union[BoxStruct, Untagged], "cannot be used"),
        (Annotated[threading.Thread, "x"], "Thread"),
        (coroutine, "asynchronous"),
        (generator, "asynchronous"),
        (Callable_(), "asynchronous"),
        (functools.partial(functools.partial(coroutine)), "asynchronous"),
        (functools.partial(Callable_()), "asynchronous"),
        (Callable_().__call__, "asynchronous"),
        (Any, "Any"),
        (Union, "Union"),
        (T, "not ~T"),
        (threading.Thread, "Thread"),
        (5, "not 5"),
        (None, "no `schema`"),
    ],
)
def test_schemas_that_can_be_none(schema, text):
    with pytest.raises(durstream.InvalidArgumentError) as raised:
        define_stream_schema(shipments={**SHIPMENTS, "schema": schema})
    assert raised.value.option == "schema" and text in str(raised.value), str(raised.value)


def test_a_validator_that_turns_out_to_await(opened):
    producer = opened(lambda value: coroutine(value))
    with pytest.raises(durstream.InvalidArgumentError, match="asynchronous"):
        producer.upsert("shipments", {"id": "a"})


def test_without_pydantic_types_are_refused_when_they_are_declared():
    code = """
import sys
sys.modules["pydantic"] = None
import durstream, typing, dataclasses
@dataclasses.dataclass
class Parcel:
    id: str
    either: typing.Union[int, typing.List[str]] = 0
for schema in (typing.Union[Parcel, None], typing.Dict[str, int], typing.Annotated[Parcel, "x"]):
    try:
        durstream.define_stream_schema(a={"schema": schema, "type": "a", "primary_key": "id"})
    except durstream.InvalidArgumentError as error:
        assert "takes pydantic 2" in str(error), error
    else:
        sys.exit("taken")
durstream.define_stream_schema(a={"schema": Parcel, "type": "a", "primary_key": "id"})
"""
    run_python(code)


def test_true_and_false_are_json_schemas(opened, url):
    producer = opened(True)
    assert producer.upsert("shipments", {"id": "a"}).wait().delivered
    producer.close()
    error = opened(False).upsert("shipments", {"id": "b"}).outcome.error
    assert error.reason == "invalid-value" and error.key == "b"
    assert values(url) == [{"id": "a"}]
