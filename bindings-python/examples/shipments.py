"""A service that owns shipments and publishes their state: created, in transit, delivered,
removed. ``cargo xtask demo`` runs it twice under one producer id."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, Dict

from durstream import Receipt, create_durable_stream, define_stream_schema

SCHEMA = define_stream_schema(
    shipments={
        "schema": {
            "type": "object",
            "required": ["id", "orderId", "status"],
            "properties": {
                "id": {"type": "string"},
                "orderId": {"type": "string"},
                "status": {"enum": ["created", "in_transit", "delivered"]},
            },
        },
        "type": "shipment",
        "primary_key": "id",
    }
)


class Service:
    """The shipment service: its producer, and the ledger of what it is about to write."""

    def __init__(self) -> None:
        self.ledger = open(os.environ["SHIPMENT_LEDGER"], "ab", buffering=0)
        # With an outbox, what was accepted outlives this process, too.
        folder = os.environ.get("SHIPMENT_OUTBOX")
        outbox: Dict[str, Any] = {"outbox_dir": folder} if folder else {}
        self.producer = create_durable_stream(
            stream_path=os.environ["SHIPMENT_STREAM_PATH"],
            schema=SCHEMA,
            producer_id=os.environ["SHIPMENT_PRODUCER_ID"],
            **outbox,
        )

    def record(self, event: Dict[str, Any]) -> None:
        self.ledger.write(json.dumps(event).encode() + b"\n")

    def upsert(self, n: int, status: str) -> None:
        shipment = {
            "id": f"ship_{n:06}",
            "orderId": f"ord_{n:06}",
            "status": status,
            "updatedAt": "2026-01-01T00:00:00.000Z",
        }
        self.record(
            {
                "type": "shipment",
                "key": shipment["id"],
                "value": shipment,
                "headers": {"operation": "upsert"},
            }
        )
        accepted(self.producer.upsert("shipments", shipment))

    def remove(self, n: int) -> None:
        key = f"ship_{n:06}"
        self.record({"type": "shipment", "key": key, "headers": {"operation": "delete"}})
        accepted(self.producer.delete("shipments", key))


def accepted(receipt: Receipt) -> None:
    """A refused write is a fault of this program."""
    if not receipt.accepted:
        assert receipt.outcome is not None and receipt.outcome.error is not None
        raise receipt.outcome.error


def main() -> None:
    shipments = range(1, int(os.environ["SHIPMENT_COUNT"]) + 1)
    first_run = os.environ["SHIPMENT_RUN"] == "1"
    started = time.monotonic()
    service = Service()
    if first_run:
        for n in shipments:
            service.upsert(n, "created")
        for n in shipments:
            service.upsert(n, "in_transit")
    else:
        for n in shipments:
            service.upsert(n, "delivered")
        for n in shipments[1::2]:
            service.remove(n)
    service.producer.flush()
    service.producer.close()
    stats = service.producer.stats()
    summary = {
        "accepted": stats["accepted"],
        "delivered": stats["delivered"],
        "seconds": time.monotonic() - started,
    }
    sys.stdout.write(json.dumps(summary) + "\n")


if __name__ == "__main__":
    main()
