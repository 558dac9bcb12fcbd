"""Every kind of schema: what it takes, what it refuses and where, and what is published."""

import enum
from dataclasses import dataclass, field
from typing import Annotated, Any, Dict, List, Literal, NewType, Optional, Tuple, TypedDict, Union

import durstream
import msgspec
import pydantic
import pytest
from conftest import SHIPMENTS, values
from durstream import define_stream_schema
from typing_extensions import NotRequired, Required

VALID = {"id": "a", "size": 3, "tags": ["x"]}


class PydanticShipment(pydantic.BaseModel):
    id: str
    size: int
    tags: List[str] = []


class StructShipment(msgspec.Struct):
    id: str
    size: int
    tags: List[str] = []


@dataclass
class DataShipment:
    id: str
    size: int
    tags: List[str] = field(default_factory=list)


class DictShipment(TypedDict):
    id: str
    size: int
    tags: List[str]


JSON_SCHEMA = {
    "type": "object",
    "required": ["id", "size"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string"},
        "size": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
}


def function(value):
    if not isinstance(value["size"], int):
        raise ValueError("size is no number")
    if not isinstance(value.get("tags", []), list):
        raise TypeError("tags is no list")


KINDS = [JSON_SCHEMA, PydanticShipment, StructShipment, DataShipment, DictShipment, function]
WITH_PATHS = KINDS[:-1]


def named(kind):
    return "json_schema" if isinstance(kind, dict) else kind.__name__


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_values_that_fit(opened, url, kind):
    producer = opened(kind)
    assert producer.upsert("shipments", dict(VALID)).wait().delivered
    assert producer.upsert("shipments", '{"id":"b","size":1,"tags":[]}').wait().delivered
    assert values(url) == [VALID, {"id": "b", "size": 1, "tags": []}]


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_values_that_do_not(opened, kind):
    producer = opened(kind)
    outcome = producer.upsert("shipments", {**VALID, "size": "big"}).outcome
    assert (outcome.status, outcome.reason) == ("rejected", "invalid-value")
    assert outcome.error.key == "a" and outcome.error.collection == "shipments"
    assert isinstance(outcome.error, durstream.ValidationError) and outcome.error.issues
    assert producer.upsert("shipments", '{"id":"a","size":"big"}').outcome.reason == "invalid-value"
    stats = producer.stats()
    assert (stats["refused_invalid"], stats["accepted"]) == (2, 0)


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_a_missing_key_is_that_and_nothing_else(opened, kind):
    outcome = opened(kind).upsert("shipments", {"size": 1, "tags": []}).outcome
    assert outcome.reason == "invalid-key" and "`id`" in outcome.error.message


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_unknown_collections_and_broken_json(opened, kind):
    producer = opened(kind)
    assert producer.upsert("parcels", VALID).outcome.reason == "invalid-entity"
    assert producer.upsert("shipments", "{").outcome.reason == "invalid-value"
    assert producer.upsert("shipments", "\ud800").outcome.reason == "serialization-failed"


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_strict_raises(opened, kind):
    producer = opened(kind, strict=True)
    with pytest.raises(durstream.ValidationError) as raised:
        producer.upsert("shipments", {**VALID, "size": "big"})
    assert raised.value.reason == "invalid-value"


@pytest.mark.parametrize("kind", WITH_PATHS, ids=named)
def test_issues_name_the_place(opened, kind):
    producer = opened(kind)
    for wrong, path in [({"size": "big"}, "/size"), ({"tags": ["x", 1]}, "/tags/1")]:
        error = producer.upsert("shipments", {**VALID, **wrong}).outcome.error
        assert [issue.path for issue in error.issues][:1] == [path], error.issues
        assert error.issues[0].message


@pytest.mark.parametrize("kind", [PydanticShipment, StructShipment, DataShipment], ids=named)
def test_instances(opened, url, kind):
    producer = opened(kind)
    assert producer.upsert("shipments", kind(**VALID)).wait().delivered
    assert producer.upsert("shipments", {"id": "b", "size": 1}).wait().delivered
    assert values(url) == [VALID, {"id": "b", "size": 1, "tags": []}]
    assert producer.upsert("shipments", object()).outcome.reason == "invalid-value"


@pytest.mark.parametrize("kind", [StructShipment, DataShipment], ids=named)
def test_instances_are_checked_too(opened, kind):
    error = opened(kind).upsert("shipments", kind(id="a", size="big")).outcome.error
    assert error.reason == "invalid-value" and error.issues[0].path == "/size"


@pytest.mark.parametrize("kind", [PydanticShipment, StructShipment, DataShipment], ids=named)
def test_instances_under_a_json_schema(opened, url, kind):
    producer = opened(JSON_SCHEMA)
    assert producer.upsert("shipments", kind(**VALID)).wait().delivered
    assert values(url) == [VALID]


def test_pydantic_aliases_defaults_and_nan(opened, url):
    class Model(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(populate_by_name=True)
        id: str = "made"
        order_id: str = pydantic.Field(alias="orderId")
        weight: float = 1.0

    producer = opened(Model)
    assert producer.upsert("shipments", {"orderId": "o"}).wait().delivered
    assert producer.upsert("shipments", Model(order_id="p", id="b")).wait().delivered
    assert values(url) == [
        {"id": "made", "orderId": "o", "weight": 1.0},
        {"id": "b", "orderId": "p", "weight": 1.0},
    ]
    refused = producer.upsert("shipments", {"orderId": "o", "weight": float("nan")})
    assert refused.outcome.reason == "serialization-failed"


def test_functions_may_change_the_value(opened, url):
    producer = opened(lambda value: {**value, "stamped": True})
    producer.upsert("shipments", {"id": "a"})
    producer.upsert("shipments", '{"id":"b"}')
    producer.flush()
    assert values(url) == [{"id": "a", "stamped": True}, {"id": "b", "stamped": True}]


@pytest.mark.parametrize(("answer", "accepted"), [(None, True), (True, True), (False, False)])
def test_functions_may_answer(opened, answer, accepted):
    receipt = opened(lambda _: answer).upsert("shipments", {"id": "a"})
    assert receipt.accepted is accepted
    if not accepted:
        assert receipt.outcome.reason == "invalid-value"


def test_a_function_with_a_bug_is_the_callers(opened):
    producer = opened(lambda value: value["missing"])
    with pytest.raises(KeyError):
        producer.upsert("shipments", {"id": "a"})
    assert producer.stats()["accepted"] == 0


class Color(enum.Enum):
    RED = "red"


Name = NewType("Name", str)


class Part(TypedDict, total=False):
    name: Required[str]
    weight: float


@dataclass
class Rich:
    id: str
    color: Color = Color.RED
    name: Name = Name("n")
    parts: List[Part] = field(default_factory=list)
    choice: Literal["a", 1] = "a"
    maybe: Optional[int] = None
    either: Union[int, List[str]] = 0
    pair: Tuple[int, str] = (1, "a")
    many: Tuple[int, ...] = ()
    by_name: Dict[str, float] = field(default_factory=dict)
    noted: Annotated[int, "note"] = 0
    flag: bool = False
    anything: Any = None
    made: int = field(default=0, init=False)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"name": 5}, "/name"),
        ({"color": "blue"}, "/color"),
        ({"parts": {}}, "/parts"),
        ({"parts": [{"weight": 1}]}, "/parts/0/name"),
        ({"parts": [{"name": "x"}, {"name": "y", "weight": "heavy"}]}, "/parts/1/weight"),
        ({"parts": [{"name": "x", "size": 1}]}, "/parts/0/size"),
        ({"choice": "b"}, "/choice"),
        ({"maybe": "x"}, "/maybe"),
        ({"either": ["x", 1]}, "/either/1"),
        ({"pair": [1]}, "/pair"),
        ({"pair": ["a", 1]}, "/pair/0"),
        ({"many": [1, "x"]}, "/many/1"),
        ({"by_name": {"a": "x"}}, "/by_name/a"),
        ({"by_name": []}, "/by_name"),
        ({"noted": "x"}, "/noted"),
        ({"noted": True}, "/noted"),
        ({"flag": 1}, "/flag"),
        ({"made": 1}, "/made"),
        ({"unknown": 1}, "/unknown"),
    ],
)
def test_types_of_fields_are_checked(opened, fields, path):
    error = opened(Rich).upsert("shipments", {"id": "a", **fields}).outcome.error
    assert error.reason == "invalid-value" and error.issues[0].path == path, error.issues


@pytest.mark.parametrize(
    "fields",
    [
        {"parts": [{"name": "x", "weight": 1}], "many": [1, 2], "either": ["x"], "pair": [1, "x"]},
        {"choice": 1, "maybe": 5, "by_name": {"a": 1}, "anything": {"x": [None]}, "flag": True},
    ],
)
def test_types_of_fields_that_fit(opened, url, fields):
    given = {"id": "a", "color": "red", **fields}
    assert opened(Rich).upsert("shipments", given).wait().delivered
    value = values(url)[0]
    assert {name: value[name] for name in given} == given and value["made"] == 0


def test_a_dataclass_validates_in_its_own_way(opened):
    @dataclass
    class Checked:
        id: str

        def __post_init__(self):
            if self.id == "bad":
                raise ValueError("a bad id")

    producer = opened(Checked)
    assert producer.upsert("shipments", {"id": "good"}).accepted
    error = producer.upsert("shipments", {"id": "bad"}).outcome.error
    assert error.issues[0].message == "a bad id"


def test_typed_dicts_know_what_is_required(opened):
    class Partly(TypedDict):
        id: str
        size: NotRequired[int]

    producer = opened(Partly)
    assert producer.upsert("shipments", {"id": "a"}).accepted
    error = producer.upsert("shipments", {"id": "a", "sise": 1}).outcome.error
    assert error.issues[0].path == "/sise"


def test_types_that_cannot_be_told():
    @dataclass
    class Unknown:
        id: "Nowhere"  # noqa: F821

    with pytest.raises(durstream.InvalidArgumentError, match="Nowhere"):
        define_stream_schema(a={**SHIPMENTS, "schema": Unknown})
