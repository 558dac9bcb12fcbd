"""A writer that is killed, in Python: ``tests/faults/README.md`` says what it is told and what it
says."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Dict, Union

from durstream import (
    DurableStream,
    IdempotentProducer,
    StateProducer,
    create_durable_stream,
    define_stream_schema,
)

ID = "kept"
TICK_SECONDS = 0.001
#: Calls in a tick.
CALLS = 5
#: Every such write begins a group of so many.
GROUP_EACH, GROUP_AT, GROUP = 10, 7, 3
SCHEMA = define_stream_schema(parcels={"schema": True, "type": "parcel", "primary_key": "id"})


def opened(kind: str, path: str, outbox: str) -> Union[StateProducer, IdempotentProducer]:
    if kind == "state":
        return create_durable_stream(
            stream_path=path, schema=SCHEMA, producer_id=ID, outbox_dir=outbox
        )
    stream = DurableStream(stream_path=path, content_type="application/json")
    return IdempotentProducer(stream, ID, outbox_dir=outbox)


def value(writer: str, number: int) -> Dict[str, Any]:
    text = "".join('→é"x'[(number + n) % 4] for n in range(number % 97))
    return {"id": f"{writer}-{number}", "text": text}


def write(producer: Union[StateProducer, IdempotentProducer], writer: str, number: int) -> int:
    """Makes one call; how many writes that were."""
    count = GROUP if number % GROUP_EACH == GROUP_AT else 1
    values = [value(writer, n) for n in range(number, number + count)]
    if isinstance(producer, IdempotentProducer):
        receipt = producer.append(values[0]) if count == 1 else producer.append_group(values)
    elif count > 1:
        with producer.transaction() as changes:
            for n, one in enumerate(values, number):
                if n % 5 == 4:
                    changes.delete("parcels", one["id"])
                else:
                    changes.upsert("parcels", one)
        receipt = changes.receipt
    elif number % 5 == 4:
        receipt = producer.delete("parcels", values[0]["id"])
    else:
        receipt = producer.upsert("parcels", values[0])
    assert receipt is not None and receipt.accepted, receipt
    return count


def say(line: str) -> None:
    """A line, at once and whole."""
    os.write(1, f"{line}\n".encode())


def main() -> None:
    kind, path, outbox, writer, first, end = sys.argv[1:]
    number, calls, flagged = int(first), 0, 0
    producer = opened(kind, path, outbox)
    say(f"open {producer.stats()['recovered']}")
    while number < int(end):
        number += write(producer, writer, number)
        say(str(number - 1))
        calls += 1
        if calls % CALLS == 0:
            time.sleep(TICK_SECONDS)
        now = producer.stats()["uncertain"]
        if now != flagged:
            flagged = now
            say(f"flagged {flagged}")
    if isinstance(producer, StateProducer):
        producer.close()
    else:
        producer.detach()
    stats = producer.stats()
    say(f"end {stats['accepted']} {stats['delivered']} {stats['uncertain']}")


if __name__ == "__main__":
    main()
