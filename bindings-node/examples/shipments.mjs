// A service that owns shipments and publishes their state: created, in transit, delivered, removed.
// `cargo xtask demo` runs it twice under one producer id.

import { openSync, writeSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { setImmediate as turn } from "node:timers/promises";

import { createDurableStream, defineStreamSchema } from "durstream";

/** Writes between two looks at the buffer: a full one answers at once, it does not wait. */
const WRITES_PER_TURN = 1000;
const MOST_BUFFERED_BYTES = 32 * 1024 * 1024;

const count = Number(setting("SHIPMENT_COUNT"));
const firstRun = setting("SHIPMENT_RUN") === "1";
const started = performance.now();

const producer = createDurableStream({
  streamPath: setting("SHIPMENT_STREAM_PATH"),
  producerId: setting("SHIPMENT_PRODUCER_ID"),
  // With an outbox, what was accepted outlives this process, too.
  outboxDir: process.env.SHIPMENT_OUTBOX,
  schema: defineStreamSchema({
    shipments: {
      schema: {
        type: "object",
        required: ["id", "orderId", "status"],
        properties: {
          id: { type: "string" },
          orderId: { type: "string" },
          status: { enum: ["created", "in_transit", "delivered"] },
        },
      },
      type: "shipment",
      primaryKey: "id",
    },
  }),
});
// What is about to be written, line by line, before each call.
const ledger = openSync(setting("SHIPMENT_LEDGER"), "a");
let writes = 0;

if (firstRun) {
  for (let n = 1; n <= count; n += 1) await upsert(n, "created");
  for (let n = 1; n <= count; n += 1) await upsert(n, "in_transit");
} else {
  for (let n = 1; n <= count; n += 1) await upsert(n, "delivered");
  for (let n = 2; n <= count; n += 2) await remove(n);
}
await producer.flush();
await producer.close();
const { accepted, delivered } = producer.stats();
const seconds = (performance.now() - started) / 1000;
console.log(JSON.stringify({ accepted, delivered, seconds }));

async function upsert(n, status) {
  const shipment = {
    id: `ship_${padded(n)}`,
    orderId: `ord_${padded(n)}`,
    status,
    updatedAt: "2026-01-01T00:00:00.000Z",
  };
  const headers = { operation: "upsert" };
  record({ type: "shipment", key: shipment.id, value: shipment, headers });
  await accept(producer.upsert("shipments", shipment));
}

async function remove(n) {
  const key = `ship_${padded(n)}`;
  record({ type: "shipment", key, headers: { operation: "delete" } });
  await accept(producer.delete("shipments", key));
}

function record(event) {
  writeSync(ledger, `${JSON.stringify(event)}\n`);
}

/** A refused write is a fault of this program. */
async function accept(receipt) {
  if (!receipt.accepted) throw receipt.refusal.error;
  writes += 1;
  if (writes % WRITES_PER_TURN !== 0) return;
  await turn();
  if (producer.stats().bufferedBytes > MOST_BUFFERED_BYTES) await producer.flush();
}

function padded(n) {
  return String(n).padStart(6, "0");
}

function setting(name) {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
}
