// The document "Publish a durable stream": its blocks are in `publish/`, its claims here.

import assert from "node:assert/strict";
import { test } from "node:test";

import { DeliveryError, TransportError, createDurableStream } from "durstream";
import { freshPath, nowhere, readJson, rejectionOf, urlOf } from "../support.ts";
import { unload } from "./publish/prelude.ts";
import { producer } from "./publish/service.ts";
import { shipmentStreamSchema } from "./publish/shipment-stream-schema.ts";

test("the service publishes its state and flushes on shutdown", async () => {
  assert.equal(producer.stats().accepted, 2);
  await unload();

  const [upsert, remove] = (await readJson(urlOf("/shipments"))).slice(-2);
  const { updatedAt } = upsert.value;
  assert.equal(new Date(updatedAt).toISOString(), updatedAt);
  assert.deepEqual(upsert, {
    type: "shipment",
    key: "ship_123",
    value: { id: "ship_123", orderId: "ord_123", status: "in_transit", updatedAt },
    headers: { operation: "upsert" },
  });
  assert.deepEqual(remove, {
    type: "shipment",
    key: "ship_123",
    headers: { operation: "delete" },
  });
  assert.equal(producer.stats().delivered, 2);
  const late = producer.upsert("shipments", { id: "late" });
  assert.match(String(late.refusal?.reason), /^producer-stop(ping|ped)$/);
});

const open = (streamPath: string) =>
  createDurableStream({ streamPath, schema: shipmentStreamSchema, producerId: "shipping-service" });

test("missing primary key: the producer skips the upsert for that entity", async () => {
  const path = freshPath("missing-key");
  const shipments = open(path);

  const receipt = shipments.upsert("shipments", { orderId: "ord_1" });
  shipments.upsert("shipments", { id: "ship_2" });

  assert.equal(receipt.accepted, false);
  assert.equal((await receipt.completion).reason, "invalid-key");
  assert.deepEqual(await shipments.flush(), { delivered: 1, duplicates: 0, uncertain: 0, refused: 1 });
  assert.deepEqual((await readJson(urlOf(path))).map(({ key }) => key), ["ship_2"]);
  await shipments.close();
});

test("unknown collection key: TypeScript catches it, at run time it is refused", async () => {
  const shipments = open(freshPath("unknown-collection"));

  // @ts-expect-error: there is no such collection
  const receipt = shipments.upsert("parcels", { id: "ship_1" });
  // @ts-expect-error: there is no such collection
  const removed = shipments.delete("parcels", "ship_1");

  assert.equal((await receipt.completion).reason, "invalid-entity");
  assert.equal((await removed.completion).reason, "invalid-entity");
  await shipments.close();
});

test("runtime unavailable: flush throws the connection error", async () => {
  const shipments = createDurableStream({
    url: nowhere,
    schema: shipmentStreamSchema,
    producerId: "shipping-service",
    deliveryTimeoutMs: 2000,
    onError: () => undefined,
  });
  shipments.upsert("shipments", { id: "ship_1" });

  const error = await rejectionOf(shipments.flush());

  assert.ok(error instanceof DeliveryError);
  assert.ok(error.cause instanceof TransportError);
  assert.equal(error.cause.url, nowhere);
  shipments.stop();
});

test("duplicate stream path: createDurableStream reuses the open producer", async () => {
  const path = freshPath("duplicate");
  const [first, second] = [open(path), open(path)];
  assert.equal(first, second);

  await first.close();

  const third = open(path);
  assert.notEqual(third, first);
  await third.close();
});
