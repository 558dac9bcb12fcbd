// What TypeScript knows of a value, by its collection's schema. The compiler is the test: each line that
// has to be refused says so, and a line that is not refused after all is an error.

import assert from "node:assert/strict";
import { test } from "node:test";

import { createDurableStream, defineStreamSchema } from "durstream";
import type { InferInput, JsonSchema, JsonSchemaOf, StreamSchema } from "durstream";
import type { FromSchema } from "json-schema-to-ts";

import { freshPath, readJson, urlOf } from "./support.ts";

interface Shipment {
  id: string;
  status: "created" | "in_transit";
  weight?: number;
}

const literal = {
  type: "object",
  properties: {
    id: { type: "string" },
    status: { enum: ["created", "in_transit"] },
    weight: { type: "number" },
    stops: { type: "array", items: { type: "string" } },
  },
  required: ["id", "status"],
  additionalProperties: false,
} as const;

const schema = defineStreamSchema({
  declared: { schema: literal as JsonSchemaOf<Shipment>, type: "declared", primaryKey: "id" },
  written: {
    schema: { type: "object", required: ["id"] } as JsonSchemaOf<Shipment>,
    type: "written",
    primaryKey: "id",
  },
  derived: {
    schema: literal as JsonSchemaOf<FromSchema<typeof literal>>,
    type: "derived",
    primaryKey: "id",
  },
  untyped: { schema: literal, type: "untyped", primaryKey: "id" },
  open: { schema: true, type: "open", primaryKey: "id" },
});

test("a JSON Schema says what its values are, and the core checks them", async () => {
  const streamPath = freshPath("types");
  const producer = createDurableStream({ streamPath, schema, producerId: "types" });
  const shipment: Shipment = { id: "a", status: "created" };
  producer.upsert("declared", shipment);
  producer.upsert("derived", { id: "b", status: "in_transit", stops: ["x"] });

  // @ts-expect-error: the status is none of the two
  assert.equal(producer.upsert("declared", { id: "c", status: "lost" }).accepted, false);
  // @ts-expect-error: the status is missing
  assert.equal(producer.upsert("derived", { id: "c" }).accepted, false);
  // @ts-expect-error: stops are text
  assert.equal(producer.upsert("derived", { id: "c", status: "created", stops: [1] }).accepted, false);
  // @ts-expect-error: there is no such field
  assert.equal(producer.upsert("derived", { id: "c", status: "created", more: 1 }).accepted, false);
  // @ts-expect-error: an id is text
  assert.equal(producer.upsert("written", { id: 5, status: "created" }).accepted, true);
  // Without a type any object is taken, and the core alone decides.
  assert.equal(producer.upsert("untyped", { id: "c" }).accepted, false);
  assert.equal(producer.upsert("open", { id: "d", anything: [1] }).accepted, true);
  // @ts-expect-error: an entity is an object
  assert.equal(producer.upsert("open", "text").accepted, false);

  await producer.close();
  const keys = (await readJson(urlOf(streamPath))).map(({ type, key }) => `${type} ${key}`);
  assert.deepEqual(keys, ["declared a", "derived b", "written 5", "open d"]);
});

type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;

test("what is inferred is the type that was named", () => {
  const same: Same<InferInput<JsonSchemaOf<Shipment>>, Shipment> = true;
  const none: Same<InferInput<JsonSchema>, object> = true;
  const ofTrue: Same<InferInput<true>, object> = true;
  const ofLiteral: Same<InferInput<typeof literal>, object> = true;
  // Where a schema of some collections is asked for, one with types is one.
  const plain: StreamSchema = schema;
  assert.ok(same && none && ofTrue && ofLiteral && plain === (schema as unknown));
});

test("the mistakes of a write are type errors, inside a transaction and beside an event, too", async () => {
  const streamPath = freshPath("types-mistakes");
  const producer = createDurableStream({ streamPath, schema, producerId: "types" });
  const shipment: Shipment = { id: "a", status: "created" };
  const refused = [
    // @ts-expect-error: there is no such collection
    producer.upsert("shipmnts", shipment),
    // @ts-expect-error: nor to delete from
    producer.delete("shipmnts", "a"),
    // @ts-expect-error: a text is no entity
    producer.upsert("declared", "shipment"),
    // @ts-expect-error: the key is missing
    producer.upsert("declared", { status: "created" }),
    // @ts-expect-error: nothing is no key
    producer.delete("declared", undefined),
    // @ts-expect-error: an entity of no such collection
    producer.delete("declared", { name: "a" }),
    // @ts-expect-error: a list is no key
    producer.delete("declared", ["a"]),
    // @ts-expect-error: the key is missing in the second one
    ...producer.upsertMany("declared", [{ status: "created" }]),
    // @ts-expect-error: a transaction's id is text
    producer.upsert("declared", shipment, { txid: 5 }),
    // @ts-expect-error: headers are text
    producer.insert("declared", shipment, { headers: { n: 5 } }),
    // @ts-expect-error: a time is a Date, text or true
    producer.insert("declared", shipment, { timestamp: 5 }),
    // @ts-expect-error: a key is no object
    producer.insert("declared", shipment, { key: {} }),
  ];
  assert.ok(refused.every((receipt) => !receipt.accepted));

  const update = (how: Parameters<typeof producer.update<"declared">>[2]) => how;
  update({ oldValue: shipment, txid: "t", timestamp: new Date(), headers: { a: "b" }, key: "a" });
  // @ts-expect-error: the old value is an entity of the same type
  update({ oldValue: { id: "a", status: "lost" } });
  // @ts-expect-error: there is no such option
  update({ txId: "t" });
  // @ts-expect-error: an insert has no old value
  producer.insert("declared", shipment, { oldValue: shipment });

  const { value, receipt } = producer.transaction((changes) => {
    // @ts-expect-error: there is no such collection
    changes.upsert("shipmnts", shipment);
    // @ts-expect-error: nor to delete from
    changes.delete("shipmnts", "a");
    // @ts-expect-error: a text is no entity
    changes.insert("declared", "shipment");
    // @ts-expect-error: the key is missing
    changes.update("declared", { status: "created" });
    // @ts-expect-error: a list is no key
    changes.delete("declared", ["a"]);
    return changes.txid.length;
  });
  assert.equal(value satisfies number, 36);
  assert.ok(receipt?.refusal?.error?.message.startsWith("5 changes"));
  // @ts-expect-error: a transaction's id is text
  assert.throws(() => producer.transaction(5, () => undefined));
  // @ts-expect-error: its function is a function
  assert.throws(() => producer.transaction("t"));
  producer.delete("declared", { id: "a" });
  producer.delete("open", { anything: 1, id: 5 });
  await producer.close();
});
