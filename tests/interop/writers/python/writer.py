"""Writes the plan of ``rule.mjs`` through the Python package.

Arguments: the stream's path, the plan, how many events, the seed.
"""

import sys
from datetime import datetime, timezone

from durstream import create_durable_stream, define_stream_schema

KEYS_PER_COLLECTION = 64
NOTES = [
    "",
    "plain",
    'quote " and \\ backslash',
    "line\nbreak\ttab",
    "ümlaut €",
    "🚢 𝄞",
    "\u0000\u001f",
    "</script>\u2028",
]


def mixed(seed, n):
    x = (seed + n * 0x9E3779B1) & 0xFFFFFFFF
    x = ((x ^ x >> 16) * 0x85EBCA6B) & 0xFFFFFFFF
    x = ((x ^ x >> 13) * 0xC2B2AE35) & 0xFFFFFFFF
    return x ^ x >> 16


def entity_of(seed, n, key):
    bits = mixed(seed, n)
    entity = {} if bits >> 14 & 1 else {"id": key}
    entity.update(
        n=n,
        amount=(bits % 4001 - 2000) / 8,
        note=NOTES[bits >> 15 & 7],
        flag=[True, False, None][(bits >> 18) % 3],
        tags=["a", n],
        nested={"deep": [None, n]},
    )
    return entity


def time_of(n):
    return datetime(2026, 3, 1, 12, n // 60 % 60, n % 60, n % 1000 * 1000, timezone.utc)


def accepted(receipt):
    if not receipt.accepted:
        raise receipt.outcome.error


def write_all(producer, plan, count, seed):
    last = {}
    for n in range(count):
        if plan != "txids":
            if n == 0:
                accepted(producer.control("snapshot-start"))
            if n == count // 4:
                accepted(producer.control("snapshot-end", offset="1_2"))
            if n == count // 2:
                last.clear()
                accepted(producer.control("reset"))
        accepted(write(producer, plan, n, seed, last))
        if plan == "txids":
            producer.flush()
            print(n, flush=True)
    producer.flush()


class RolledBack(Exception):
    """Ends a transaction that is to leave nothing."""


def write_groups(producer, count, seed):
    for n in range(count):
        bits = mixed(seed, n)
        try:
            with producer.transaction(f"tx-{seed}-{n}") as changes:
                for index in range(1 + bits % 20):
                    changes.upsert("orders", {"id": f"g{n}-{index}", "n": n})
                if bits >> 7 & 3 == 0:
                    raise RolledBack
        except RolledBack:
            pass
        accepted(producer.upsert("orders", {"id": f"s{n}", "n": n}))
    producer.flush()


def write(producer, plan, n, seed, last):
    bits = mixed(seed, n)
    number = (bits >> 1) % KEYS_PER_COLLECTION
    collection, key = ("users", f'Zoë "{number}"') if bits & 1 else ("orders", f"order-{number}")
    before = last.get(key)
    action = bits >> 7 & 7
    says = {}
    if plan == "txids" or bits >> 11 & 1:
        says["txid"] = f"tx-{seed}-{n}"
    if bits >> 12 & 1:
        says["timestamp"] = time_of(n)
    if plan != "strict" and bits >> 13 & 1:
        says["headers"] = {"from": "billing"}
    old = {}
    if bits >> 10 & 1 and before is not None:
        old["old_value"] = entity_of(seed, before, key)
    if action < 2 and before is not None:
        del last[key]
        return producer.delete(collection, {"id": key} if action == 1 else key, **says, **old)
    last[key] = n
    if bits >> 14 & 1:
        says["key"] = key
    entity = entity_of(seed, n, key)
    if action < 5:
        return producer.upsert(collection, entity, **says)
    if before is None:
        return producer.insert(collection, entity, **says)
    return producer.update(collection, entity, **says, **old)


def main():
    path, plan, count, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    strict = {"operations": "strict", "timestamps": True} if plan == "strict" else {}
    schema = define_stream_schema(
        orders={"schema": {"type": "object"}, "type": "order", "primary_key": "id"},
        users={"schema": {"type": "object"}, "type": "user", "primary_key": "id"},
    )
    producer = create_durable_stream(
        stream_path=path, schema=schema, producer_id="interop-python", **strict
    )
    if plan == "groups":
        write_groups(producer, count, seed)
    else:
        write_all(producer, plan, count, seed)
    producer.close()


main()
