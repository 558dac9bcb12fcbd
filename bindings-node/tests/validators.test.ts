// Validators that throw refuse a value; those that wait are refused themselves.

import assert from "node:assert/strict";
import { test } from "node:test";

import { type } from "arktype";
import { InvalidArgumentError, ValidationError, createDurableStream, defineStreamSchema } from "durstream";
import type { StandardSchema } from "durstream";
import * as v from "valibot";
import { z } from "zod";
import * as mini from "zod/mini";
import { z as z3 } from "zod/v3";
import { freshPath, readJson, thrownBy, urlOf } from "./support.ts";

const fault = new RangeError("mine");
function parse(text: string): unknown {
  if (text === "fault") throw fault;
  return JSON.parse(text);
}
function check(text: string): boolean {
  if (text === "fault") throw fault;
  return text !== "refused";
}
const own = (validate: (value: any) => unknown): StandardSchema =>
  ({ "~standard": { version: 1, vendor: "own", validate } });
const id = "id";

const throwing: Record<string, StandardSchema> = {
  "zod, transform": z.object({ id: z.string(), meta: z.string().transform(parse) }),
  "zod, refinement": z.object({ id: z.string(), meta: z.string().refine(check).transform(parse) }),
  "zod, preprocess": z.object({ id: z.string(), meta: z.preprocess((text) => parse(text as string), z.any()) }),
  "zod, second transform": z.object({ id: z.string(), meta: z.string().transform((text) => text).transform(parse) }),
  "zod mini": mini.object({ id: mini.string(), meta: mini.pipe(mini.string(), mini.transform(parse)) }),
  "zod 3, transform": z3.object({ id: z3.string(), meta: z3.string().transform(parse) }),
  "zod 3, second transform": z3.object({ id: z3.string(), meta: z3.string().transform((text) => text).transform(parse) }),
  "zod 3, refinement": z3.object({ id: z3.string(), meta: z3.string().refine(check).transform(parse) }),
  valibot: v.object({ id: v.string(), meta: v.pipe(v.string(), v.transform(parse)) }),
  arktype: type({ id: "string", meta: type("string").pipe(parse) }),
  "one that throws": own((value) => ({ value: { ...value, meta: parse(value.meta) } })),
  "one whose promise was rejected": own((value) =>
    value.meta === "fault" ? Promise.reject(fault) : { value: { ...value, meta: parse(value.meta) } }),
};

for (const [name, schema] of Object.entries(throwing)) {
  test(`what a validator throws refuses the value: ${name}`, async () => {
    const streamPath = freshPath("throwing");
    const definition = defineStreamSchema({ rows: { schema, type: "row", primaryKey: id } });
    const producer = createDurableStream({ streamPath, producerId: "tester", schema: definition });
    producer.upsert("rows", { id: "a", meta: "[1]" });
    for (const time of [1, 2]) {
      const receipt = producer.upsert("rows", { id: "b", meta: "fault" });
      assert.equal(receipt.accepted, false, `${time}`);
      const error = receipt.refusal?.error;
      assert.ok(error instanceof ValidationError);
      assert.deepEqual([error.reason, error.key, error.collection], ["invalid-value", "b", "rows"]);
      assert.match(error.message, /mine/);
      if (!name.includes("promise")) assert.equal(error.cause, fault);
    }
    assert.equal(producer.upsertJson("rows", '{"id":"c","meta":"fault"}').refusal?.reason, "invalid-value");
    assert.equal(producer.upsert("rows", { meta: "fault" }).refusal?.reason, "invalid-key");
    producer.upsert("rows", { id: "d", meta: "2" });
    assert.equal((await producer.flush()).delivered, 2);
    const values = (await readJson(urlOf(streamPath))).map(({ value }) => value);
    assert.deepEqual(values, [{ id: "a", meta: [1] }, { id: "d", meta: 2 }]);
    await producer.close();
  });
}

test("strict throws the refusal with its cause", () => {
  const schema = defineStreamSchema({ rows: { schema: throwing["zod, transform"]!, type: "row", primaryKey: id } });
  const producer = createDurableStream({ streamPath: freshPath("strict"), producerId: "tester", schema, strict: true });
  const error = thrownBy(() => producer.upsert("rows", { id: "b", meta: "fault" }));
  assert.ok(error instanceof ValidationError);
  assert.deepEqual([error.reason, error.cause], ["invalid-value", fault]);
  producer.stop();
});

const wait = async () => true;
const waiting: Record<string, StandardSchema> = {
  zod: z.object({ id: z.string().refine(wait) }),
  "zod, transform": z.object({ id: z.string().transform(async (text) => text) }),
  "zod mini": mini.object({ id: mini.string().check(mini.refine(wait)) }),
  "zod 3": z3.object({ id: z3.string().refine(wait) }),
  "zod 3, transform": z3.object({ id: z3.string().transform(async (text) => text) }),
  "one with a promise": own((value) => Promise.resolve({ value })),
  "one with a thenable": own((value) => ({ then: (give: (it: unknown) => void) => give({ value }) })),
};

for (const [name, schema] of Object.entries(waiting)) {
  test(`a validator that waits is refused at its first value: ${name}`, () => {
    const definition = defineStreamSchema({ rows: { schema, type: "row", primaryKey: id } });
    const producer = createDurableStream({ streamPath: freshPath("waiting"), producerId: "tester", schema: definition });
    const error = thrownBy(() => producer.upsert("rows", { id: "a" }));
    assert.ok(error instanceof InvalidArgumentError, String(error));
    assert.equal(error.option, "schema");
    assert.match(error.message, /`rows` validates asynchronously, `upsert` does not wait/);
    producer.stop();
  });
}

test("one that says that it waits is refused where it is declared", () => {
  const schemas = {
    valibot: v.objectAsync({ id: v.pipeAsync(v.string(), v.checkAsync(wait)) }),
    own: own(async (value) => ({ value })),
  };
  for (const [name, schema] of Object.entries(schemas)) {
    const error = thrownBy(() => defineStreamSchema({ rows: { schema, type: "row", primaryKey: id } }));
    assert.ok(error instanceof InvalidArgumentError, name);
    assert.match(error.message, /`rows` validates asynchronously/);
  }
});
