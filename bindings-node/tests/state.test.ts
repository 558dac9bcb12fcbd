// Entity state: collections, validators, and one producer per stream.

import assert from "node:assert/strict";
import { test } from "node:test";

import { type } from "arktype";
import * as v from "valibot";
import { z } from "zod";

import {
  DeliveryError,
  InvalidArgumentError,
  ValidationError,
  createDurableStream,
  defineStreamSchema,
} from "durstream";
import type { CollectionDefinition, StandardSchema } from "durstream";
import { freshPath, isClosed, nowhere, readJson, readText, rejectionOf, thrownBy, urlOf } from "./support.ts";

const json = {
  type: "object",
  required: ["id", "size"],
  properties: { size: { type: "integer" }, "a/b": { type: "array", items: { type: "string" } } },
} as const;
const boxes = defineStreamSchema({ boxes: { schema: json, type: "box", primaryKey: "id" } });

function open<C extends Record<string, CollectionDefinition>>(
  schema: ReturnType<typeof defineStreamSchema<C>>,
  options: object = {},
) {
  const streamPath = freshPath("state");
  const producer = createDurableStream({ streamPath, schema, producerId: "tester", ...options });
  return { producer, url: urlOf(streamPath), streamPath };
}

test("JSON Schema: validated in the core, refusals are receipts that say where", async () => {
  const { producer, url } = open(boxes);
  const good = producer.upsert("boxes", { id: "a", size: 1 });
  const bad = producer.upsert("boxes", { id: "b", size: "x", "a/b": ["", 1] });
  const missing = producer.upsert("boxes", { size: 1 });
  producer.delete("boxes", "a");
  producer.delete("boxes", 7);
  producer.delete("boxes", true);

  assert.deepEqual(await producer.flush(), { delivered: 4, duplicates: 0, uncertain: 0, refused: 2 });
  assert.ok(producer.nextSeq > 0);
  assert.equal(producer.inFlightCount, 0);
  assert.equal((await good.completion).status, "delivered");
  const { reason, error } = await bad.completion;
  assert.equal(reason, "invalid-value");
  assert.ok(error instanceof ValidationError);
  assert.deepEqual([error.collection, error.key], ["boxes", "b"]);
  assert.deepEqual(error.issues.map(({ path }) => path).sort(), ["/a~1b/1", "/size"]);
  assert.equal((await missing.completion).reason, "invalid-key");
  assert.deepEqual(await readJson(url), [
    { type: "box", key: "a", value: { id: "a", size: 1 }, headers: { operation: "upsert" } },
    { type: "box", key: "a", headers: { operation: "delete" } },
    { type: "box", key: "7", headers: { operation: "delete" } },
    { type: "box", key: "true", headers: { operation: "delete" } },
  ]);
  assert.equal(producer.stats().refusedInvalid, 2);
  await producer.close();
});

test("keys and values that cannot be are refused", async () => {
  const { producer, url } = open(defineStreamSchema({ a: { schema: true, type: "a", primaryKey: "id" } }));
  const reasons = [
    producer.upsert("a", {}),
    producer.upsert("a", { id: "" }),
    producer.upsert("a", { id: null }),
    producer.upsert("a", { id: { deep: 1 } }),
    producer.upsert("a", { id: NaN }),
    producer.upsert("a", { id: "x", cycle: 1n }),
    producer.upsert("a", []),
    producer.upsert("a", undefined as never),
    producer.upsert("a", "text" as never),
    producer.upsertJson("a", "{"),
    producer.delete("a", ""),
    producer.delete("a", undefined as never),
    producer.delete("a", {} as never),
    producer.delete("a", NaN),
    producer.delete("a", -Infinity),
    producer.upsert(undefined as any, {}),
    producer.upsert("toString" as any, {}),
    producer.delete(Symbol("x") as any, "x"),
  ].map((receipt) => receipt.refusal?.reason);
  assert.deepEqual(reasons, [
    "invalid-key", "invalid-key", "invalid-key", "invalid-key", "invalid-key",
    "serialization-failed",
    "invalid-value", "serialization-failed", "invalid-value", "invalid-value",
    "invalid-key", "invalid-key", "invalid-key", "invalid-key", "invalid-key",
    "invalid-entity", "invalid-entity", "invalid-entity",
  ]);
  await producer.flush();
  await producer.close();
  assert.equal(producer.stats().accepted, 0);
  assert.equal(producer.stats().refusedInvalid, reasons.length);
  assert.ok(["", "[]"].includes(await readText(url)));
});

test("what JSON.stringify says is published; text reaches the stream as it is", async () => {
  const loose = defineStreamSchema({ a: { schema: true, type: "a", primaryKey: "id" } });
  const { producer, url } = open(loose);
  class Entity {
    id = 5;
    at = new Date(0);
    gone = undefined;
    #secret = 1;
    get secret() { return this.#secret; }
  }
  producer.upsert("a", new Entity());
  producer.upsertJson("a", '{ "id" : "b", "big": 12345678901234567890 }');
  producer.upsertJson("a", new TextEncoder().encode('{"id":"ü"}'));
  await producer.flush();
  const events = await readJson(url);
  assert.deepEqual(events[0].value, { id: 5, at: "1970-01-01T00:00:00.000Z" });
  assert.deepEqual(events.map(({ key }) => key), ["5", "b", "ü"]);
  assert.match(await readText(url), /\{ "id" : "b", "big": 12345678901234567890 \}/);
  await producer.close();
});

const zod = z.object({ id: z.string(), size: z.coerce.number().int(), tag: z.string().default("none") });
const valibot = v.object({ id: v.string(), size: v.pipe(v.string(), v.transform(Number), v.integer()), tag: v.optional(v.string(), "none") });
const ark = type({ id: "string", size: "string.integer.parse", tag: "string = 'none'" });

for (const [name, schema] of Object.entries({ zod, valibot, ark } as Record<string, StandardSchema>)) {
  test(`Standard Schema with ${name}: the validated output is what is published`, async () => {
    const { producer, url } = open(defineStreamSchema({ boxes: { schema, type: "box", primaryKey: "id" } }));
    producer.upsert("boxes", { id: "a", size: "12" });
    producer.upsertJson("boxes", '{"id":"b","size":"3","tag":"x"}');
    const bad = producer.upsert("boxes", { id: "c", size: "many" });
    const missing = producer.upsert("boxes", { size: "1" });
    const none = producer.upsert("boxes", 5 as never);

    assert.equal((await producer.flush()).delivered, 2);
    assert.deepEqual((await readJson(url)).map(({ value }) => value), [
      { id: "a", size: 12, tag: "none" },
      { id: "b", size: 3, tag: "x" },
    ]);
    const { reason, error } = await bad.completion;
    assert.equal(reason, "invalid-value");
    assert.ok(error instanceof ValidationError);
    assert.equal(error.issues[0]?.path, "/size");
    assert.deepEqual([error.key, error.collection], ["c", "boxes"]);
    assert.match(error.message, /\/size/);
    assert.equal((await missing.completion).reason, "invalid-key");
    assert.equal((await none.completion).reason, "invalid-value");
    assert.equal(producer.stats().refusedInvalid, 3);
    await producer.close();
  });
}

test("the types of upsert are those of the schema", async () => {
  const schema = defineStreamSchema({
    z: { schema: zod, type: "z", primaryKey: "id" },
    v: { schema: valibot, type: "v", primaryKey: "id" },
    a: { schema: ark, type: "a", primaryKey: "id" },
    j: { schema: json, type: "j", primaryKey: "id" },
  });
  const { producer } = open(schema);
  producer.upsert("z", { id: "a", size: 1, tag: "x" });
  producer.upsert("v", { id: "a", size: "1" });
  producer.upsert("a", { id: "a", size: "1" });
  producer.upsert("j", { id: "a", size: 1 });
  // @ts-expect-error: an id is text
  producer.upsert("z", { id: 1, size: 1 });
  // @ts-expect-error: the size is text before it is validated
  producer.upsert("v", { id: "a", size: 1 });
  // @ts-expect-error: the size is missing
  producer.upsert("a", { id: "a" });
  // @ts-expect-error: an entity is an object
  producer.upsert("j", "text");
  // @ts-expect-error: there is no such collection
  producer.upsert("y", { id: "a" });
  assert.equal((await producer.flush()).delivered, 4);
  await producer.close();
});

function standard(validate: (value: unknown) => unknown) {
  const schema = { "~standard": { version: 1 as const, vendor: "test", validate } };
  return open(defineStreamSchema({ a: { schema, type: "a", primaryKey: "id" } })).producer;
}

test("text that is no JSON is refused alike, whoever validates", () => {
  const passes = { "~standard": { version: 1, vendor: "own", validate: (value: unknown) => ({ value }) } } as const;
  const { producer } = open(defineStreamSchema({
    core: { schema: true, type: "core", primaryKey: "id" },
    own: { schema: passes, type: "own", primaryKey: "id" },
  }));
  for (const broken of ["", "{", '{"id":"a"} 2', "nonsense", Uint8Array.of(0x22, 0xff, 0x22)]) {
    for (const collection of ["core", "own"] as const) {
      const error = producer.upsertJson(collection, broken).refusal?.error;
      assert.ok(error instanceof ValidationError);
      assert.equal(error.reason, "invalid-value", `${collection}: ${broken}`);
      assert.deepEqual([error.collection, error.key], [collection, undefined]);
    }
  }
  producer.stop();
});

test("what cannot even be shown is a rejected receipt", () => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  const bare = { id: "a", toJSON: () => { throw Object.create(null); } };
  const secret = { get id() { throw new Error("mine"); } };
  const standard = (validate: () => unknown) => ({ "~standard": { version: 1, vendor: "own", validate } }) as const;
  const throws = standard(() => { throw Object.create(null); });
  const hides = standard(() => ({ get issues() { throw new Error("mine"); } }));
  const mutters = standard(() => ({ issues: [{ message: Object.create(null) }] }));
  const own = defineStreamSchema({
    boxes: { schema: true, type: "box", primaryKey: "id" },
    throws: { schema: throws, type: "throws", primaryKey: "id" },
    hides: { schema: hides, type: "hides", primaryKey: "id" },
    mutters: { schema: mutters, type: "mutters", primaryKey: "id" },
  });
  const { producer } = open(own);
  for (const value of [proxy, bare, secret]) {
    assert.equal(producer.upsert("boxes", value as never).refusal?.reason, "serialization-failed");
  }
  for (const odd of ["throws", "hides", "mutters"] as const) {
    assert.equal(producer.upsert(odd, { id: "a" } as never).refusal?.reason, "invalid-value");
  }
  producer.stop();
});

test("a validator that throws or answers nothing", async () => {
  const throws = standard(() => { throw new Error("mine"); });
  assert.match(String(throws.upsert("a", { id: 1 }).refusal?.error?.message), /mine/);
  const silent = standard(() => undefined);
  assert.equal(silent.upsert("a", { id: 1 }).refusal?.reason, "invalid-value");
  const vague = standard(() => ({ issues: [{}, { message: "no", path: ["a", { key: 0 }, "x/y"] }] }));
  const refusal = vague.upsert("a", { id: 1 }).refusal?.error as ValidationError;
  assert.deepEqual(refusal.issues.map(({ path }) => path), ["", "/a/0/x~1y"]);
  const lossy = standard((value) => ({ value: { ...(value as object), nan: NaN } }));
  assert.equal(lossy.upsert("a", { id: 1 }).refusal?.reason, "serialization-failed");
  await Promise.all([throws, silent, vague, lossy].map((producer) => producer.close()));
});

test("schemas that cannot work are refused", () => {
  const good = { schema: true, type: "a", primaryKey: "id" };
  for (const [schema, text] of [
    [undefined, /object of collections/], [{}, /no collections/], [{ a: null }, /an object with `schema`.*not null/],
    [{ a: { ...good, type: "" } }, /no `type`/], [{ a: { ...good, type: undefined } }, /text as its `type`, not undefined/],
    [{ a: { ...good, primaryKey: "" } }, /primary key/], [{ a: { ...good, primaryKey: 1 } }, /primaryKey/],
    [{ a: { ...good, schema: undefined } }, /a JSON Schema as its `schema`, not undefined/], [{ a: { ...good, schema: new Map() } }, /a JSON Schema as its `schema`, not a value of class Map/],
    [{ a: { ...good, schema: { type: "nonsense" } } }, /JSON Schema/], [{ a: { ...good, schema: { const: 1n } } }, /JSON Schema/],
    [{ a: good, b: good }, /same type/],
  ] as [any, RegExp][]) {
    const error = thrownBy(() => defineStreamSchema(schema));
    assert.ok(error instanceof InvalidArgumentError, String(error));
    assert.equal(error.option, "schema");
    assert.match(error.message, text);
  }
});

test("one producer per stream: the same object while it is open", async () => {
  const { producer, streamPath, url } = open(boxes);
  const again = { schema: boxes, producerId: "tester" };
  assert.equal(createDurableStream({ streamPath, ...again }), producer);
  assert.equal(createDurableStream({ url, ...again }), producer, "however it is named");
  await producer.close();
});

test("a second open with other options or another schema is refused", async () => {
  const { producer, streamPath } = open(boxes);
  const again = (options: object) => () =>
    createDurableStream({ streamPath, schema: boxes, producerId: "tester", ...options });
  assert.equal(thrownBy(again({ lingerMs: 9 })).option, "options");
  const other = defineStreamSchema({ boxes: { schema: true, type: "box", primaryKey: "id" } });
  assert.equal(thrownBy(again({ schema: other })).option, "schema");
  await producer.close();
});

test("a reopened producer goes on where the old one ended", async () => {
  const { producer, streamPath, url } = open(boxes);
  producer.upsert("boxes", { id: "a", size: 1 });
  const closing = producer.close();
  const next = createDurableStream({ streamPath, schema: boxes, producerId: "tester" });
  assert.notEqual(next, producer);
  next.upsert("boxes", { id: "b", size: 2 });
  await Promise.all([closing, next.flush()]);
  assert.deepEqual((await readJson(url)).map(({ key }) => key), ["a", "b"]);
  assert.equal(producer.upsert("boxes", { id: "c", size: 3 }).accepted, false);
  const { finalOffset } = await next.close({ endStream: true });
  assert.ok(finalOffset);
  assert.ok(await isClosed(url));
});

test("await using lets one holder go, the last one closes", async () => {
  const { producer, streamPath, url } = open(boxes);
  {
    await using second = createDurableStream({ streamPath, schema: boxes, producerId: "tester" });
    second.upsert("boxes", { id: "a", size: 1 });
  }
  assert.equal((await readJson(url)).length, 1);
  assert.ok(producer.upsert("boxes", { id: "b", size: 1 }).accepted);
  await producer[Symbol.asyncDispose]();
  assert.equal(producer.upsert("boxes", { id: "c", size: 1 }).accepted, false);
});

test("every holder's signal ends the producer, and delivers what was accepted", async () => {
  const controller = new AbortController();
  const { producer, streamPath, url } = open(boxes);
  createDurableStream({ streamPath, schema: boxes, producerId: "tester", signal: controller.signal });
  producer.upsert("boxes", { id: "a", size: 1 });
  controller.abort();
  assert.equal(producer.upsert("boxes", { id: "b", size: 1 }).accepted, false);
  // The one that was turned away is reported, once.
  await assert.rejects(producer.flush(), (error: DeliveryError) => error.delivered === 1 && error.undelivered === 1);
  await producer.close();
  assert.deepEqual((await readJson(url)).map(({ key }) => key), ["a"]);
});

test("a close that never began leaves the signal its meaning", async () => {
  const controller = new AbortController();
  const { producer } = open(boxes, { signal: controller.signal });
  await rejectionOf(producer.close({ timeoutMs: -1 }));
  assert.equal(await rejectionOf(producer.close({ signal: AbortSignal.abort("enough") })), "enough");
  assert.ok(producer.upsert("boxes", { id: "a", size: 1 }).accepted);
  controller.abort();
  assert.equal(producer.upsert("boxes", { id: "b", size: 1 }).accepted, false);
});

test("strict throws where a receipt would be rejected", async () => {
  const { producer } = open(boxes, { strict: true });
  assert.equal(thrownBy(() => producer.upsert("boxes", { size: 1 })).reason, "invalid-key");
  assert.equal(thrownBy(() => producer.upsert("boxes", { id: 1, size: NaN })).reason, "serialization-failed");
  assert.ok(producer.upsert("boxes", { id: "a", size: 1 }).accepted);
  await producer.close();
});

test("a full buffer is a rejected receipt, and flush reports it", async () => {
  const producer = createDurableStream({
    url: `${nowhere}/full`, schema: boxes, producerId: "tester", maxBufferItems: 1,
    onError: () => undefined,
  });
  producer.upsert("boxes", { id: "a", size: 1 });
  assert.equal(producer.upsert("boxes", { id: "b", size: 1 }).refusal?.reason, "buffer-count-exceeded");
  producer.stop();
  const error = await rejectionOf(producer.flush());
  assert.ok(error instanceof DeliveryError);
  assert.equal(error.undelivered, 2);
  assert.match(producer.state, /^stopp/);
});
