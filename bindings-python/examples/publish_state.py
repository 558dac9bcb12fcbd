"""Publishes the state of shipments: what a service does that owns entities others subscribe to.

    DURABLE_STREAMS_URL=http://localhost:4437 python publish_state.py [/shipments]
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime, timezone
from typing import Any

from durstream import DeliveryError, StateProducer, create_durable_stream, define_stream_schema

# --- Define the schema -------------------------------------------------------------------------
# Each collection declares a schema, the type of its events, and the primary key of its values.
# A schema may be a JSON Schema, a pydantic model, a msgspec struct, a dataclass, a TypedDict, or
# a function like this one: it returns what to publish, and raises ValueError to refuse.


def standard_shipment_schema(value: Any) -> Any:
    return value


shipment_stream_schema = define_stream_schema(
    shipments={
        "schema": standard_shipment_schema,
        "type": "shipment",
        "primary_key": "id",
    }
)


# --- Create the producer -----------------------------------------------------------------------
# There is one producer per stream in a process while it is open. The producer id stays the same
# over restarts, and nothing is written twice.


def open_producer(stream_path: str) -> StateProducer:
    return create_durable_stream(
        stream_path=stream_path,
        schema=shipment_stream_schema,
        producer_id="shipping-service",
    )


# --- Upsert and delete state -------------------------------------------------------------------
# Both return at once; the entity's key is read from the primary key's field.


def publish(producer: StateProducer) -> None:
    producer.upsert(
        "shipments",
        {
            "id": "ship_123",
            "orderId": "ord_123",
            "status": "in_transit",
            "updatedAt": datetime.now(timezone.utc).isoformat(),
        },
    )
    producer.delete("shipments", "ship_123")


# --- Failure modes -----------------------------------------------------------------------------


def refused_writes(producer: StateProducer) -> None:
    # A missing primary key: the write is skipped, its receipt says why, nothing is sent.
    receipt = producer.upsert("shipments", {"orderId": "ord_123"})
    assert not receipt.accepted and receipt.outcome is not None
    assert receipt.outcome.reason == "invalid-key"
    # A collection the schema does not have.
    receipt = producer.upsert("parcels", {"id": "parcel_1"})
    assert receipt.outcome is not None and receipt.outcome.reason == "invalid-entity"


def same_stream_path(producer: StateProducer, stream_path: str) -> None:
    # Opening the same path again is another handle on the open producer.
    with open_producer(stream_path) as again:
        assert again.is_same(producer)


# --- Flush on shutdown -------------------------------------------------------------------------
# begin_shutdown() takes no more writes; what was accepted is still delivered. flush() waits for
# it, and raises if the server cannot be reached: a failure of the deployment.


async def shut_down(producer: StateProducer) -> None:
    producer.begin_shutdown()
    try:
        await producer.aflush()
        await producer.aclose()
    except DeliveryError as error:
        sys.exit(f"{error.undelivered} writes were not delivered: {error.cause}")
    print(producer.stats()["delivered"], "writes delivered")


def main() -> None:
    stream_path = sys.argv[1] if len(sys.argv) > 1 else "/shipments"
    producer = open_producer(stream_path)
    publish(producer)
    refused_writes(producer)
    same_stream_path(producer, stream_path)
    asyncio.run(shut_down(producer))


if __name__ == "__main__":
    main()
