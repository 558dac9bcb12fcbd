"""Values as JSON: the quick way writes what ``_json.py`` writes, and leaves the rest to it."""

import collections
import dataclasses
import enum
import itertools
import json
import math
import random
import struct

import durstream
import pytest
from conftest import read_json, read_pages
from durstream import IdempotentProducer, _json, create_durable_stream, define_stream_schema

#: Seeded anew each time; the one of a failure goes here.
SEED = random.randrange(2**32)


class Grade(str, enum.Enum):
    GOOD = "gut"


class Level(enum.IntEnum):
    TWO = 2


class Loud(str):
    def __str__(self):
        return "LOUD"

    def encode(self, *_):
        raise AssertionError("nobody asks")

    __repr__ = __format__ = __str__


class Odd(int):
    def __index__(self):
        return 13

    __int__ = __index__

    def __repr__(self):
        return "odd"


class Rough(float):
    def __float__(self):
        return 0.5

    def __repr__(self):
        return "rough"


class Backwards(list):
    def __iter__(self):
        return reversed(list(super().__iter__()))


class Louder(dict):
    def items(self):
        return [(key.upper(), value) for key, value in super().items()]


@dataclasses.dataclass
class Point:
    x: object
    y: object


Pair = collections.namedtuple("Pair", "left right")

TEXTS = [
    "",
    "plain",
    "".join(map(chr, range(0x80))),
    "ü ÿ Ā ࠀ \u2028\u2029 \ufeff \uffff 💧 \U0010ffff",
    "\\ \" / \b\f\n\r\t \x00 \x7f \x80",
    "long " * 1000,
    Loud("quiet"),
    Grade.GOOD,
]
BOUNDS = [1e-5, 1e-4, 1e-3, 1e15, 1e16, 1e17, 1e22, 1e23, 2.0**53, 5e-324, 2.2250738585072014e-308]
FLOATS = [
    *BOUNDS,
    *(math.nextafter(bound, 0) for bound in BOUNDS),
    *(math.nextafter(bound, math.inf) for bound in BOUNDS),
    *(0.0, 0.1 + 0.2, 1.5, 100.0, 123456789.123, 1.7976931348623157e308, Rough(2.5), Rough(1e30)),
]
NUMBERS = [
    *FLOATS,
    *(-number for number in FLOATS),
    *(0, 1, -1, 2**31, 2**53, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 2**64, 10**400),
    *(Level.TWO, Odd(7), Odd(2**70)),
]
KEYS = [*TEXTS, *NUMBERS, True, False, None]
#: What every way of writing refuses.
REFUSED = ["\ud800", "a\udfffb", math.nan, math.inf, -math.inf, b"bytes", {1}, object(), 1j]
#: What is not written the quick way, and written.
OTHERS = [
    Point(1, Grade.GOOD),
    Pair(1, "two"),
    Backwards([1, 2, 3]),
    Louder(a=1),
    collections.OrderedDict(b=1, a=2),
    collections.defaultdict(list, a=[1]),
    collections.Counter("abba"),
]


def expected(value):
    """What Python's encoder writes, or why it does not."""
    try:
        return _json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        return str(error)


def written(stream, values):
    """What appending makes of the values: the bytes in the stream, or why there are none."""
    results = []
    with IdempotentProducer(stream, "json") as producer:
        for value in values:
            receipt = producer.try_append([value])
            assert receipt.accepted or receipt.outcome.reason == "serialization-failed"
            results.append(None if receipt.accepted else receipt.outcome.error.message)
    # Each value stands in an array: text is otherwise taken as it is.
    pages = [page[1:-1] for page in read_pages(stream.url) if page != b"[]"]
    return results, b",".join(page for page in pages if page)


def compare(stream, values):
    results, text = written(stream, values)
    wanted = [expected([value]) for value in values]
    for value, result, want in zip(values, results, wanted):
        assert (want if isinstance(want, str) else None) == result, type(value)
    accepted = [want for want in wanted if isinstance(want, bytes)]
    for want, found in itertools.zip_longest(accepted, json.loads(b"[%s]" % text)):
        assert json.loads(want) == found
    assert text == b",".join(accepted)


def test_values_of_every_kind(json_stream):
    values = [*TEXTS, *NUMBERS, *OTHERS, *REFUSED, True, False, None, {}, [], (), [[]], [{}, ()]]
    compare(json_stream, values)


def test_keys_of_every_kind(json_stream):
    keys = [*KEYS, *REFUSED[:3], b"bytes", (1, 2)]
    values = [*({key: 1} for key in keys), {key: key for key in KEYS}]
    # Two keys may become one text: both are written, as ever.
    compare(json_stream, [*values, {"1": "a", 1: "b", 1.5: "c", "1.5": "d", None: 0, "null": 1}])


def test_random_values(json_stream):
    print("seed", SEED)
    compare(json_stream, random_values(random.Random(SEED), 5000))


def random_values(dice, count):
    """Mostly usual values, some with something unusual or something refused in them."""

    def text():
        ranges = [(32, 127), (0, 256), (0, 0xD800), (0xE000, 0x110000)]
        return "".join(
            chr(dice.randrange(*ranges[min(int(dice.expovariate(1)), 3)]))
            for _ in range(int(dice.expovariate(0.1)))
        )

    def number():
        kind = dice.randrange(5)
        if kind == 0:
            return dice.randrange(-1000, 1000)
        if kind == 1:
            return dice.randrange(-(2 ** dice.randrange(1, 80)), 2 ** dice.randrange(1, 80))
        if kind == 2:
            return round(dice.uniform(-1e6, 1e6), dice.randrange(6))
        if kind == 3:
            return dice.uniform(-1, 1) * 10.0 ** dice.randrange(-30, 30)
        (bits,) = struct.unpack("<d", struct.pack("<Q", dice.getrandbits(64)))
        return bits if math.isfinite(bits) else 0.0

    def scalar():
        kind = dice.random()
        if kind < 0.002:
            return dice.choice(REFUSED)
        if kind < 0.01:
            return dice.choice(OTHERS)
        if kind < 0.5:
            return text()
        return number() if kind < 0.8 else dice.choice([*KEYS, None, True, False])

    def value(depth):
        kind = dice.random()
        if depth == 0 or kind < 0.5:
            return scalar()
        size = int(dice.expovariate(0.3))
        if kind < 0.75:
            keys = (text() if dice.random() < 0.9 else dice.choice(KEYS) for _ in range(size))
            return {key: value(depth - 1) for key in keys}
        items = [value(depth - 1) for _ in range(size)]
        return items if kind < 0.9 else tuple(items)

    return [value(4) for _ in range(count)]


def nested(depth):
    value = 1
    for level in range(depth):
        value = ([value], (value,), {"k": value})[level % 3]
    return value


def test_depth_is_judged_by_python(json_stream):
    compare(json_stream, [*map(nested, [1, 98, 99, 100, 101, 127, 128, 129, 500]), nested(100_000)])


def test_cycles_are_refused_as_ever(json_stream):
    a_list, a_dict, wide, point = [], {}, [], Point(1, 2)
    a_list.append(a_list)
    a_dict["k"] = (1, [a_dict])
    wide.extend([wide] * 10)
    point.x = {"point": point}
    twice = [1, 2]
    compare(json_stream, [a_list, a_dict, wide, point, {"a": twice, "b": twice}])


def no_encoder(*_):
    raise AssertionError("Python's encoder was asked")


def test_usual_values_do_without_python(json_stream, monkeypatch):
    value = {
        **{"text": "ü", "int": 2**63 - 1, "floats": [1.5, 1e-7, 1e300], "none": None, "true": True},
        **{"tuple": (Level.TWO, Grade.GOOD), 1: {"deep": [[{}]]}, None: -1, False: 0, 0.5: ""},
    }
    schema = define_stream_schema(things={"schema": {}, "type": "thing", "primary_key": "text"})
    monkeypatch.setattr(_json, "_write", no_encoder)
    with IdempotentProducer(json_stream, "quick") as producer:
        producer.append(value)
        producer.append_json(value)
        with pytest.raises(AssertionError, match="was asked"):
            producer.append({"other": Pair(1, 2)})
    with create_durable_stream(
        schema=schema, producer_id="quick", url=json_stream.url + "-state"
    ) as state:
        assert state.upsert("things", value).accepted
        with pytest.raises(AssertionError, match="was asked"):
            state.upsert("things", {**value, "other": Pair(1, 2)})
    loaded = json.loads(json.dumps(value))
    assert read_json(json_stream.url) == [loaded, loaded]
    assert [event["value"] for event in read_json(json_stream.url + "-state")] == [loaded]


def test_text_and_bytes_are_no_values(json_stream):
    with IdempotentProducer(json_stream, "text") as producer:
        producer.append(Loud('"as it is"'))
        producer.append_json(Loud("a value"))
        with pytest.raises(durstream.ValidationError):
            producer.append_json(b"bytes")
    assert read_json(json_stream.url) == ["as it is", "a value"]
