// One rule of what makes a primary key, by the vectors that every language reads.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { createDurableStream, defineStreamSchema } from "durstream";
import type { CollectionDefinition, Receipt, ValidationError } from "durstream";
import { z } from "zod";

import { freshPath, readJson, urlOf } from "./support.ts";

interface Vector {
  what: string;
  json?: string;
  entity?: string;
  number?: string;
  key?: string;
  refused?: string;
}

const file = new URL("../../../tests/vectors/keys.json", import.meta.url);
const vectors = JSON.parse(readFileSync(file, "utf8")) as Vector[];

function open(schema: CollectionDefinition["schema"]) {
  const streamPath = freshPath("keys");
  const things = { schema, type: "thing", primaryKey: "id" };
  const given = { streamPath, schema: defineStreamSchema({ things }), producerId: "keys" };
  return { producer: createDurableStream(given), url: urlOf(streamPath) };
}

function checkRefusal(receipt: Receipt, why: string, what: string): void {
  assert.equal(receipt.refusal?.reason, "invalid-key", what);
  const { issues } = receipt.refusal.error as ValidationError;
  assert.ok(issues[0]?.message.endsWith(why), `${what}: ${issues[0]?.message}`);
}

/** A vector's key by every verb that takes one. */
function* writes(
  producer: ReturnType<typeof open>["producer"],
  vector: Vector,
  isText: boolean,
): Generator<Receipt> {
  const { json, entity } = vector;
  if (vector.number !== undefined) {
    const id = Number(vector.number);
    yield producer.upsert("things", { id });
    yield producer.update("things", { id }, { txid: "t" });
    yield producer.upsert("things", {}, { key: id });
    yield producer.delete("things", { id });
    yield producer.delete("things", id);
    return;
  }
  const text = entity ?? `{"id":${json}}`;
  const value = JSON.parse(text) as { id?: unknown };
  // A number of JavaScript's may be another than the one that the text says, and knows no `1.0`.
  const isExact = json === undefined || typeof value.id !== "number" || String(value.id) === json;
  if (isExact || isText) {
    yield producer.upsertJson("things", text);
    yield producer.upsertJson("things", new TextEncoder().encode(text), { txid: "t" });
  }
  if (!isExact) {
    if (/^-?[1-9]\d*$/.test(json)) yield producer.delete("things", BigInt(json));
    return;
  }
  yield producer.upsert("things", value);
  yield producer.delete("things", value);
  yield producer.delete("things", value, { txid: "t" });
  if (json === undefined || /^\{/.test(json)) return; // an object is an entity
  yield producer.delete("things", value.id as string);
  yield producer.delete("things", value.id as string, { txid: "t" });
}

const ways: Record<string, CollectionDefinition["schema"]> = {
  "the core": true,
  zod: z.looseObject({}),
};

for (const [name, schema] of Object.entries(ways)) {
  test(`each vector has its key or its reason where ${name} validates`, async () => {
    const { producer, url } = open(schema);
    const expected: string[] = [];
    for (const vector of vectors) {
      // zod makes values of JavaScript's of a text, and those are published.
      for (const receipt of writes(producer, vector, schema === true)) {
        if (vector.refused !== undefined) {
          checkRefusal(receipt, vector.refused, vector.what);
        } else {
          assert.ok(receipt.accepted, `${vector.what}: ${receipt.refusal?.error?.message}`);
          expected.push(vector.key ?? "");
        }
      }
    }
    await producer.close();
    assert.deepEqual((await readJson(url)).map(({ key }) => key), expected);
    assert.ok(expected.length > 150);
  });
}

test("what JSON cannot say is no key, and the key comes first whatever else is wrong", async () => {
  const { producer } = open(z.strictObject({ id: z.any() }));
  const why = "is neither text, an integer, true nor false";
  for (const key of [Symbol("a"), () => 1, ["a"]] as never[]) {
    checkRefusal(producer.delete("things", key), why, "delete");
    checkRefusal(producer.upsert("things", { id: "a" }, { key }), why, "upsert");
  }
  checkRefusal(producer.upsert("things", { id: 1.5, more: 1 }), "is a number that is no integer", "both");
  checkRefusal(producer.upsert("things", { more: 1 }), "`id` is missing", "both");
  checkRefusal(producer.delete("things", undefined as never), why, "undefined");
  const kept = producer.upsert("things", { id: 7, more: 1 }).refusal;
  assert.equal(kept?.reason, "invalid-value");
  await producer.close();
});

test("an entity of a class is deleted by its key, and a Date is one", async () => {
  const { producer, url } = open(true);
  class Thing {
    constructor(readonly id: unknown) {}
  }
  producer.delete("things", new Thing(5));
  const at = new Date(0);
  producer.upsert("things", { id: at });
  producer.delete("things", at);
  producer.delete("things", new Thing(at));
  checkRefusal(producer.delete("things", new Thing(null)), "`id` is null", "null");
  const thrower = { get id(): string { throw new Error("no"); } };
  checkRefusal(producer.delete("things", thrower), "`id` cannot be read", "thrown");
  await producer.close();
  assert.deepEqual((await readJson(url)).map(({ key }) => key), ["5", ...[1, 2, 3].map(() => at.toISOString())]);
});

test("of two members with one name the last counts", async () => {
  const entity = '{"id":"a","size":"small","id":"b","size":3}';
  const refused = '{"id":"a","size":3,"id":"b","size":"small"}';
  const json = { properties: { size: { type: "integer" } } };
  for (const schema of [json, z.object({ id: z.string(), size: z.int() })]) {
    const { producer, url } = open(schema);
    assert.ok(producer.upsertJson("things", entity).accepted);
    const { error } = producer.upsertJson("things", refused).refusal ?? {};
    assert.deepEqual([error?.reason, (error as { key?: string }).key], ["invalid-value", "b"]);
    await producer.close();
    const [event] = await readJson(url);
    assert.deepEqual([event.key, event.value], ["b", { id: "b", size: 3 }]);
  }
});
