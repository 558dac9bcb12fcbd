// Validators that throw refuse a value; those that wait are for `upsertAsync` alone.

import assert from "node:assert/strict";
import { test } from "node:test";

import { type } from "arktype";
import {
  InvalidArgumentError,
  ProducerClosedError,
  ValidationError,
  createDurableStream,
  defineStreamSchema,
} from "durstream";
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
  valibot: v.objectAsync({ id: v.pipeAsync(v.string(), v.checkAsync(wait)) }),
  "an asynchronous function": own(async (value) => ({ value })),
  "one with a promise": own((value) => Promise.resolve({ value })),
  "one with a thenable": own((value) => ({ then: (give: (it: unknown) => void) => give({ value }) })),
};

for (const [name, schema] of Object.entries(waiting)) {
  test(`a validator that waits is for upsertAsync alone: ${name}`, async () => {
    const definition = defineStreamSchema({ rows: { schema, type: "row", primaryKey: id } });
    const streamPath = freshPath("waiting");
    const producer = createDurableStream({ streamPath, producerId: "tester", schema: definition });
    const error = thrownBy(() => producer.upsert("rows", { id: "a" }));
    assert.ok(error instanceof InvalidArgumentError, String(error));
    assert.equal(error.option, "schema");
    assert.match(error.message, /`rows` validates asynchronously: only `upsertAsync` waits for that/);
    const receipt = await producer.upsertAsync("rows", { id: "a" }, { txid: "t" });
    assert.equal((await receipt.completion).status, "delivered");
    const [event] = await readJson(urlOf(streamPath));
    assert.deepEqual([event.key, event.value, event.headers.txid], ["a", { id: "a" }, "t"]);
    await producer.close();
  });
}

/** A validator that takes as long as each value says. */
const slow = own(async (value) => {
  await new Promise((resolve) => setTimeout(resolve, value.ms));
  if (value.fault) throw fault;
  return value.refused ? { issues: [{ message: "not so", path: ["ms"] }] } : { value };
});

test("changes by upsertAsync keep the order of their calls", async () => {
  const schema = defineStreamSchema({ rows: { schema: slow, type: "row", primaryKey: id } });
  const streamPath = freshPath("in-turn");
  const producer = createDurableStream({ streamPath, producerId: "tester", schema });
  const values = [40, 5, 20, 0, 10].map((ms, n) => ({ id: `r${n}`, ms }));
  const receipts = await Promise.all(values.map((value) => producer.upsertAsync("rows", value)));
  assert.deepEqual(receipts.map(({ id: receipt }) => receipt), [1, 2, 3, 4, 5]);
  await producer.flush();
  assert.deepEqual((await readJson(urlOf(streamPath))).map(({ value }) => value), values);
  await producer.close();
});

test("upsertAsync writes what the entity was at the call", async () => {
  const schema = defineStreamSchema({ rows: { schema: slow, type: "row", primaryKey: id } });
  const streamPath = freshPath("at-the-call");
  const producer = createDurableStream({ streamPath, producerId: "tester", schema });
  const row = { id: "a", ms: 5, state: "first" };
  const first = producer.upsertAsync("rows", row);
  row.state = "second";
  await Promise.all([first, producer.upsertAsync("rows", row)]);
  await producer.close();
  const states = (await readJson(urlOf(streamPath))).map(({ value }) => value.state);
  assert.deepEqual(states, ["first", "second"]);
});

test("what an asynchronous validator refuses or throws makes a rejected receipt, in its turn", async () => {
  const schema = defineStreamSchema({ rows: { schema: slow, type: "row", primaryKey: id } });
  const producer = createDurableStream({ streamPath: freshPath("refused"), producerId: "tester", schema });
  const first = producer.upsertAsync("rows", { id: "a", ms: 30 });
  const refused = producer.upsertAsync("rows", { id: "b", ms: 0, refused: true });
  const thrown = producer.upsertAsync("rows", { id: "c", ms: 0, fault: true });
  const keyless = producer.upsertAsync("rows", { ms: 0 });
  const unknown = producer.upsertAsync("nothing" as never, { id: "d", ms: 0 } as never);
  assert.equal((await first).accepted, true);
  const outcome = await (await refused).completion;
  assert.ok(outcome.status === "rejected" && outcome.error instanceof ValidationError);
  assert.deepEqual([outcome.reason, outcome.error.issues], ["invalid-value", [{ path: "/ms", message: "not so" }]]);
  const broken = await (await thrown).completion;
  assert.ok(broken.status === "rejected" && broken.error?.cause === fault);
  for (const [receipt, reason] of [[keyless, "invalid-key"], [unknown, "invalid-entity"]] as const) {
    const { reason: found } = (await (await receipt).completion) as { reason?: string };
    assert.equal(found, reason);
  }
  producer.stop();
  const late = await (await producer.upsertAsync("rows", { id: "e", ms: 0 })).completion;
  assert.ok(late.status === "rejected" && late.error instanceof ProducerClosedError);
});
