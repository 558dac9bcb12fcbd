// What a change of an entity says beside its value, and control messages.

import assert from "node:assert/strict";
import { test } from "node:test";

import { createDurableStream, defineStreamSchema, InvalidArgumentError } from "durstream";
import { z } from "zod";
import { freshPath, readJson, readText, urlOf } from "./support.ts";

const schema = defineStreamSchema({
  shipments: { schema: true, type: "shipment", primaryKey: "id" },
  orders: { schema: z.looseObject({}), type: "order", primaryKey: "id" },
});

function open(options: object = {}) {
  const streamPath = freshPath("events");
  const producer = createDurableStream({ streamPath, schema, producerId: "tester", ...options });
  return { producer, url: urlOf(streamPath) };
}

async function headersOf(url: string): Promise<unknown[]> {
  return (await readJson(url)).map((event) => (event as { headers: unknown }).headers);
}

for (const collection of ["shipments", "orders"] as const) {
  test(`${collection}: every verb writes its operation`, async () => {
    const { producer, url } = open();
    const entity = { id: "1", n: 5 };
    producer.insert(collection, entity);
    producer.update(collection, entity);
    producer.upsert(collection, entity);
    producer.delete(collection, entity);
    const receipts = producer.upsertMany(collection, new Set([entity, { ...entity }]));
    assert.deepEqual(receipts.map(({ accepted }) => accepted), [true, true]);
    await producer.flush();
    const operations = ["insert", "update", "upsert", "delete", "upsert", "upsert"];
    assert.deepEqual(await headersOf(url), operations.map((operation) => ({ operation })));
    await producer.close();
  });
}

test("an event says what it was told, byte for byte", async () => {
  const { producer, url } = open();
  producer.update("shipments", { id: "1", n: 2 }, {
    txid: "tx-1",
    timestamp: new Date(Date.UTC(2026, 1, 28, 10)),
    headers: { from: "billing" },
    oldValue: { id: "1", n: 1 },
  });
  producer.delete("shipments", 1, {
    txid: "tx-2",
    timestamp: "2026-02-28T10:00:00+01:00",
    oldValue: '{"id": 1.0}',
  });
  producer.upsertJson("shipments", "{}", { key: 7n });
  await producer.flush();
  const update =
    '{"type":"shipment","key":"1","value":{"id":"1","n":2},"old_value":{"id":"1","n":1},' +
    '"headers":{"operation":"update","txid":"tx-1","timestamp":"2026-02-28T10:00:00.000Z",' +
    '"from":"billing"}}';
  const gone =
    '{"type":"shipment","key":"1","old_value":{"id": 1.0},"headers":{"operation":"delete",' +
    '"txid":"tx-2","timestamp":"2026-02-28T10:00:00+01:00"}}';
  const keyed = '{"type":"shipment","key":"7","value":{},"headers":{"operation":"upsert"}}';
  assert.equal(await readText(url), `[${update},${gone},${keyed}]`);
  await producer.close();
});

test("options stamp events and make them strict", async () => {
  const { producer, url } = open({ timestamps: true, operations: "strict" });
  producer.upsert("shipments", { id: "1" });
  producer.upsert("shipments", { id: "1" }, { timestamp: true });
  producer.delete("shipments", "1");
  producer.upsert("shipments", { id: "1" });
  const refused = producer.upsert("shipments", { id: "1" }, { headers: { from: "x" } });
  assert.equal(refused.refusal?.reason, "invalid-headers");
  await producer.flush();
  const found = (await headersOf(url)) as { operation: string; timestamp: string }[];
  const operations = ["insert", "update", "delete", "insert"];
  assert.deepEqual(found.map(({ operation }) => operation), operations);
  for (const { timestamp } of found) assert.match(timestamp, /^20.*\.\d{1,3}Z$|^20[^.]*Z$/);
  await producer.close();
});

test("control messages stand in order with the changes", async () => {
  const { producer, url } = open();
  producer.control("snapshot-start");
  producer.upsert("shipments", { id: "1" });
  producer.control("snapshot-end", { offset: "1_2" });
  producer.control("reset");
  await producer.flush();
  assert.deepEqual(await headersOf(url), [
    { control: "snapshot-start" },
    { operation: "upsert" },
    { control: "snapshot-end", offset: "1_2" },
    { control: "reset" },
  ]);
  for (const wrong of ["snapshot", 5, undefined]) {
    assert.throws(() => producer.control(wrong as "reset"), InvalidArgumentError);
  }
  for (const offset of ["", 5]) {
    assert.throws(() => producer.control("reset", { offset: offset as string }), {
      name: "InvalidArgumentError",
      option: "offset",
    });
  }
  await producer.close();
});

test("what an event cannot say is refused", async () => {
  const { producer } = open();
  const wrong: [unknown, string, RegExp][] = [
    [{ txid: "" }, "invalid-headers", /empty `txid`/],
    [{ txid: 5 }, "invalid-headers", /a `txid` that is no text/],
    [{ txid: "\ud83d" }, "invalid-headers", /half of a surrogate pair/],
    [{ timestamp: "today" }, "invalid-headers", /no RFC 3339 time/],
    [{ timestamp: "now" }, "invalid-headers", /no RFC 3339 time/],
    [{ timestamp: new Date(NaN) }, "invalid-headers", /a `timestamp` that is no text/],
    [{ headers: { operation: "x" } }, "invalid-headers", /protocol's own/],
    [{ headers: { from: 5 } }, "invalid-headers", /a header `from` that is no text/],
    [{ headers: [] }, "invalid-headers", /`headers` that are no object/],
    [5, "invalid-headers", /options that are no object/],
    [{ key: "2" }, "invalid-key", /not the entity's own/],
    [{ key: {} }, "invalid-key", /neither text, an integer/],
    [{ oldValue: 5n }, "serialization-failed", /the old value/],
    [{ oldValue: "{" }, "invalid-value", /the old value/],
  ];
  for (const collection of ["shipments", "orders"] as const) {
    for (const [how, reason, text] of wrong) {
      const { refusal } = producer.update(collection, { id: "1" }, how as object);
      assert.equal(refusal?.reason, reason, String(text));
      assert.match(refusal?.error?.message ?? "", text);
    }
  }
  const keyless = producer.delete("orders", { n: 1 });
  assert.equal(keyless.refusal?.reason, "invalid-key");
  assert.match(keyless.refusal?.error?.message ?? "", /`id` is missing/);
  assert.equal(producer.delete("orders", "\ud83d").refusal?.reason, "invalid-key");
  assert.equal(producer.stats().accepted, 0);
  assert.equal(producer.stats().refusedInvalid, 2 * wrong.length + 2);
  await producer.close();
});
