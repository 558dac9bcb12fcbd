"""What is published of instances: the fields of the declared class, validated."""

import dataclasses
from typing import Any, Dict, Generic, List, Optional, Tuple, TypedDict, TypeVar, Union

import msgspec
import pydantic
import pytest
from conftest import values

T = TypeVar("T")


class PydanticPart(pydantic.BaseModel):
    n: int


class PydanticWhole(pydantic.BaseModel):
    id: str
    part: Optional[PydanticPart] = None
    listed: List[PydanticPart] = []
    named: Dict[str, PydanticPart] = {}
    either: Union[int, PydanticPart] = 0


class PydanticSubPart(PydanticPart):
    secret: str = "SECRET"


class PydanticSubWhole(PydanticWhole):
    secret: str = "SECRET"


class StructPart(msgspec.Struct):
    n: int


class StructWhole(msgspec.Struct):
    id: str
    part: Optional[StructPart] = None
    listed: List[StructPart] = []
    named: Dict[str, StructPart] = {}
    either: Union[int, StructPart] = 0


class StructSubPart(StructPart):
    secret: str = "SECRET"


class StructSubWhole(StructWhole):
    secret: str = "SECRET"


@dataclasses.dataclass
class DataPart:
    n: int


@dataclasses.dataclass
class DataWhole:
    id: str
    part: Optional[DataPart] = None
    listed: List[DataPart] = dataclasses.field(default_factory=list)
    named: Dict[str, DataPart] = dataclasses.field(default_factory=dict)
    either: Union[int, DataPart] = 0


@dataclasses.dataclass
class DataSubPart(DataPart):
    secret: str = "SECRET"


@dataclasses.dataclass
class DataSubWhole(DataWhole):
    secret: str = "SECRET"


class DictWhole(TypedDict, total=False):
    id: str
    part: Optional[DataPart]
    listed: List[DataPart]
    named: Dict[str, DataPart]
    either: Union[int, DataPart]


class AllowingPart(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    n: int


class AllowingWhole(PydanticWhole):
    model_config = pydantic.ConfigDict(extra="allow", strict=True)
    listed: List[AllowingPart] = []


class AllowingSubPart(AllowingPart):
    secret: str = "SECRET"


class AllowingSubWhole(AllowingWhole):
    secret: str = "SECRET"


@pydantic.dataclasses.dataclass
class CheckedWhole:
    id: str
    part: Optional[DataPart] = None
    listed: Tuple[PydanticPart, ...] = ()
    named: Dict[str, DataPart] = dataclasses.field(default_factory=dict)
    either: Union[int, DataPart] = 0


@pydantic.dataclasses.dataclass
class CheckedSubWhole(CheckedWhole):
    secret: str = "SECRET"


@dataclasses.dataclass
class MixedWhole(Generic[T]):
    id: str
    part: Optional[T] = None
    listed: List[PydanticPart] = dataclasses.field(default_factory=list)
    named: Dict[str, StructPart] = dataclasses.field(default_factory=dict)
    either: Union[int, PydanticPart, DataPart] = 0


@dataclasses.dataclass
class MixedSubWhole(MixedWhole[DataPart]):
    secret: str = "SECRET"


#: A schema, a class with more fields, and classes with more fields for what is within.
KINDS = [
    (PydanticWhole, PydanticSubWhole, [PydanticSubPart] * 4),
    (StructWhole, StructSubWhole, [StructSubPart] * 4),
    (DataWhole, DataSubWhole, [DataSubPart] * 4),
    (DictWhole, dict, [DataSubPart] * 4),
    (AllowingWhole, AllowingSubWhole, [PydanticSubPart, AllowingSubPart, *[PydanticSubPart] * 2]),
    (CheckedWhole, CheckedSubWhole, [DataSubPart, PydanticSubPart, DataSubPart, DataSubPart]),
    (
        MixedWhole[DataPart],
        MixedSubWhole,
        [DataSubPart, PydanticSubPart, StructSubPart, DataSubPart],
    ),
    (Union[int, PydanticWhole], PydanticSubWhole, [PydanticSubPart] * 4),
    (Union[StructWhole, None], StructSubWhole, [StructSubPart] * 4),
    (Union[None, DataWhole], DataSubWhole, [DataSubPart] * 4),
]


def fields(one, many, by_name, either):
    return {
        "id": "a",
        "part": one(n=1),
        "listed": [many(n=2)],
        "named": {"x": by_name(n=3)},
        "either": either(n=4),
    }


@pytest.mark.parametrize(("declared", "whole", "parts"), KINDS, ids=lambda kind: str(kind)[:40])
def test_only_declared_fields_are_published(opened, url, declared, whole, parts):
    producer = opened(declared)
    given = fields(*parts)
    if whole is CheckedSubWhole:
        given["listed"] = tuple(given["listed"])
    for value in (whole(**given), given):
        outcome = producer.upsert("shipments", value).wait()
        assert outcome.delivered, outcome
    expected = {
        "id": "a",
        "part": {"n": 1},
        "listed": [{"n": 2}],
        "named": {"x": {"n": 3}},
        "either": {"n": 4},
    }
    assert values(url) == [expected, expected]


def test_what_a_model_allows_is_published(opened, url):
    value = AllowingWhole(id="a", listed=[AllowingPart(n=1, more="x")], other=2)
    assert opened(AllowingWhole).upsert("shipments", value).wait().delivered
    (found,) = values(url)
    assert found["listed"] == [{"n": 1, "more": "x"}] and found["other"] == 2


def mutated(value, **changed):
    for name, field in changed.items():
        setattr(value, name, field)
    return value


@pytest.mark.parametrize(
    ("kind", "value", "path"),
    [
        (PydanticWhole, PydanticWhole.model_construct(id=5), "/id"),
        (PydanticWhole, PydanticWhole.model_construct(), "/id"),
        (PydanticWhole, mutated(PydanticWhole(id="a"), listed=[5]), "/listed/0"),
        (
            PydanticWhole,
            PydanticWhole(id="a", listed=[PydanticPart.model_construct(n="x")]),
            "/listed/0/n",
        ),
        (
            PydanticWhole,
            {"id": "a", "named": {"x": PydanticPart.model_construct(n="x")}},
            "/named/x/n",
        ),
        (PydanticWhole, PydanticSubWhole.model_construct(id=5), "/id"),
        (CheckedWhole, mutated(CheckedWhole(id="a"), either="x"), "/either"),
        (CheckedWhole, CheckedWhole(id="a", part=DataPart(n="x")), "/part/n"),
        (StructWhole, StructWhole(id="a", listed=[StructPart(n="x")]), "/listed/0/n"),
        (DataWhole, DataWhole(id="a", listed=[DataPart(n="x")]), "/listed/0/n"),
        (
            MixedWhole[DataPart],
            MixedWhole(id="a", listed=[PydanticPart.model_construct(n="x")]),
            "/listed/0/n",
        ),
        (MixedWhole[DataPart], {"id": "a", "named": {"x": {"n": "x"}}}, "/named/x/n"),
        (
            Dict[str, Union[str, PydanticPart]],
            {"id": "a", "p": PydanticPart.model_construct(n="x")},
            "/p/n",
        ),
    ],
)
def test_instances_are_validated_again(opened, kind, value, path):
    producer = opened(kind)
    outcome = producer.upsert("shipments", value).outcome
    assert outcome is not None and outcome.reason in ("invalid-value", "invalid-key")
    if outcome.reason == "invalid-value":
        found = [issue.path for issue in outcome.error.issues]
        assert any(at.startswith(path) for at in found), found


def test_validating_again_minds_aliases_and_paths(opened, url):
    class Inner(pydantic.BaseModel):
        count: int = pydantic.Field(alias="countOf")

    class Aliased(pydantic.BaseModel):
        id: str = pydantic.Field(
            validation_alias=pydantic.AliasChoices("identity", "id"), serialization_alias="id"
        )
        inner: Inner = pydantic.Field(alias="theInner")
        _private: int = pydantic.PrivateAttr(default=1)

    class ByPath(pydantic.BaseModel):
        id: str
        size: int = pydantic.Field(
            validation_alias=pydantic.AliasChoices(pydantic.AliasPath("sizes", 0), "size")
        )
        also: Any = None

    class Rooted(pydantic.RootModel[Dict[str, Union[str, ByPath]]]):
        pass

    aliased = Aliased(identity="a", theInner={"countOf": 1})
    by_path = ByPath(id="b", sizes=[3])
    for kind, value, wrong, path in [
        (Aliased, aliased, mutated(aliased.model_copy(), inner={}), "/theInner/countOf"),
        (ByPath, by_path, mutated(by_path.model_copy(), size="x"), "/size"),
        (Rooted, Rooted({"id": "c", "p": by_path}), Rooted({"id": "c"}).model_copy(), None),
    ]:
        producer = opened(kind)
        assert producer.upsert("shipments", value).wait().delivered
        if path is not None:
            error = producer.upsert("shipments", wrong).outcome.error
            assert path in [issue.path for issue in error.issues]
        producer.close()
    assert values(url) == [
        {"id": "a", "theInner": {"countOf": 1}},
        {"id": "b", "size": 3, "also": None},
        {"id": "c", "p": {"id": "b", "size": 3, "also": None}},
    ]


@pytest.mark.parametrize("kind", [PydanticWhole, StructWhole, DataWhole, DictWhole])
def test_what_contains_itself_is_refused(opened, kind):
    value: Dict[str, Any] = {"id": "a"}
    value["listed"] = [value]
    producer = opened(kind)
    assert not producer.upsert("shipments", value).accepted
    if kind is not DictWhole:
        whole = kind(id="a")
        whole.part = whole
        assert not producer.upsert("shipments", whole).accepted
