"""A service of the soak, in Python: six producers at once, two of which stay and four of which
come and go. ``tests/soak/README.md`` says what each service does."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, Dict, Union

from durstream import (
    DurableStream,
    IdempotentProducer,
    StateProducer,
    create_durable_stream,
    define_stream_schema,
)

SLOTS = 6
#: The first slots have one stream and one producer all the time.
STAYING = 2
#: A stream of the others is written by so many producers, one behind the other.
PRODUCERS = 2
TICK_SECONDS = 0.1
#: Writes in a tick, of a producer that stays and of one that goes.
WRITES = (2, 5)
TICKS_PER_FLUSH = 10
#: Of the creation of a stream: one fault may hit it nine times.
RETRIES = 40

NAME = os.environ["SOAK_NAME"]
TOKEN = Path(os.environ["SOAK_TOKEN"])
END = time.monotonic() + float(os.environ["SOAK_SECONDS"])
SCHEMA = define_stream_schema(parcels={"schema": True, "type": "parcel", "primary_key": "id"})


def fill(slot: int) -> None:
    """A stream behind the other, until the end."""
    try:
        stream = 0
        while time.monotonic() < END:
            write_stream(slot, stream)
            stream += 1
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def write_stream(slot: int, stream: int) -> None:
    writer = f"{NAME}{slot}x{stream}"
    stays, is_state = slot < STAYING, slot % 2 == 0
    written = 0
    total = {"delivered": 0, "uncertain": 0, "retries": 0, "sessions": 0}
    producers = 1 if stays else PRODUCERS
    for number in range(producers):
        life = 1 + (5 * stream + 3 * slot + number) % 5
        until = END if stays else min(END, time.monotonic() + life)
        producer = opened(writer, slot, is_state)
        ticks = 0
        while time.monotonic() < until:
            for _ in range(WRITES[not stays]):
                write(producer, writer, written)
                written += 1
            ticks += 1
            if not stays and ticks % TICKS_PER_FLUSH == 0:
                producer.flush()
            time.sleep(TICK_SECONDS)
        stats = end(producer, number + 1 == producers and stream % 2 == 1)
        for name in total:
            total[name] += stats[name]
    words = ["state" if is_state else "json", writer, written, *total.values()]
    # Whole at once: threads share the output.
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def opened(writer: str, slot: int, is_state: bool) -> Union[StateProducer, IdempotentProducer]:
    place: Dict[str, Any] = {
        "stream_path": f"/soak/{writer}",
        "request_timeout_ms": 2000,
        "headers": {"Authorization": token},
    }
    if is_state:
        return create_durable_stream(schema=SCHEMA, producer_id=f"soak-{slot}", **place)
    stream = DurableStream.create(content_type="application/json", max_retries=RETRIES, **place)
    return IdempotentProducer(stream, f"soak-{slot}", on_uncertain="resend")


def token() -> str:
    """A token that expires: its file always has the newest."""
    return f"Bearer {TOKEN.read_text()}"


def write(producer: Union[StateProducer, IdempotentProducer], writer: str, number: int) -> None:
    value = {"id": f"{writer}-{number}", "text": filling(number)}
    if isinstance(producer, IdempotentProducer):
        receipt = producer.append(value)
    elif number % 5 == 4:
        receipt = producer.delete("parcels", value["id"])
    else:
        receipt = producer.upsert("parcels", value)
    assert receipt.accepted, receipt


def filling(number: int) -> str:
    """Text of many lengths, and not only ASCII."""
    return "".join('→é"x'[(number + n) % 4] for n in range(number % 97))


def end(producer: Union[StateProducer, IdempotentProducer], ends_stream: bool) -> Any:
    """Lets it go, and ends its stream where that is asked for."""
    if isinstance(producer, StateProducer):
        producer.close(end_stream=True) if ends_stream else producer.close()
    elif ends_stream:
        producer.close()
    else:
        producer.detach()
    return producer.stats()


if __name__ == "__main__":
    threads = [threading.Thread(target=fill, args=(slot,)) for slot in range(SLOTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
