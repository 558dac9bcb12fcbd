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
