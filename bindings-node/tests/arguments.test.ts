// Whatever is given in place of what is expected: an error of ours that says what is wrong, in the
// caller's words, and never one of the addon's or the engine's.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as durstream from "durstream";
import {
  Chunk,
  DurableStream,
  DurstreamError,
  IdempotentProducer,
  InvalidArgumentError,
  Receipt,
  StaleEpochError,
  StreamReader,
  ValidationError,
  createDurableStream,
  defineStreamSchema,
} from "durstream";
import { fresh, nowhere, rejectionOf } from "./support.ts";

const json = await DurableStream.create({ url: fresh("arguments"), contentType: "application/json" });
const text = await DurableStream.create({ url: fresh("arguments"), contentType: "text/plain" });
const producer = new IdempotentProducer(json, "tester");
const writer = new IdempotentProducer(text, "tester");
const definition = { schema: true, type: "t", primaryKey: "id" } as const;
const schema = defineStreamSchema({ t: definition });
const entities = createDurableStream({ url: fresh("arguments"), schema, producerId: "tester" });

const all: Record<string, unknown> = {
  undefined: undefined, null: null, number: 5.5, NaN, infinite: Infinity, bigint: 10n, text: "x", empty: "", true: true,
  object: {}, array: [], symbol: Symbol("s"), function: () => 1, map: new Map(), date: new Date(0),
  bare: Object.create(null), error: new Error("e"), bytes: new Uint8Array(1),
};

/** A call, the argument or option that its error names, and the values that are right. */
const table: [string, (wrong: any) => unknown, string | undefined, string[]][] = [
  ["new DurableStream", (wrong) => new DurableStream(wrong), undefined, []],
  ["create", (wrong) => DurableStream.create(wrong), undefined, []],
  ["connect", (wrong) => DurableStream.connect(wrong), undefined, []],
  ["static head", (wrong) => DurableStream.head(wrong), undefined, []],
  ["static delete", (wrong) => DurableStream.delete(wrong), undefined, []],
  ["url", (url) => new DurableStream({ url }), "url", []],
  ["streamPath", (streamPath) => new DurableStream({ streamPath }), "streamPath", ["text", "undefined"]],
  ["contentType", (contentType) => new DurableStream({ url: nowhere, contentType }), "contentType", ["undefined", "text", "empty"]],
  ["endpoints", (endpoints) => new DurableStream({ streamPath: "/a", endpoints }), "endpoints", ["undefined", "empty", "array"]],
  ["an endpoint", (wrong) => new DurableStream({ streamPath: "/a", endpoints: [wrong] }), "endpoints", []],
  ["expiresAt", (expiresAt) => new DurableStream({ url: nowhere, expiresAt }), "expiresAt", ["undefined", "text", "empty", "date"]],
  ["headers", (headers) => new DurableStream({ url: nowhere, headers }), "headers", ["undefined", "object", "array", "map", "date", "bare", "error"]],
  ["a header", (a) => new DurableStream({ url: nowhere, headers: { a } }), "headers", ["undefined", "text", "empty", "function"]],
  ["params", (params) => new DurableStream({ url: nowhere, params }), "params", ["undefined", "object", "array", "map", "date", "bare", "error"]],
  ["a parameter", (a) => new DurableStream({ url: nowhere, params: { a } }), "params", ["undefined", "text", "empty", "function"]],
  ["signal", (signal) => new DurableStream({ url: nowhere, signal }), "signal", ["undefined"]],
  ["seq", (seq) => json.append(1, { seq }), "seq", ["undefined", "text", "empty"]],
  ["contentType of an append", (contentType) => json.append(1, { contentType }), "contentType", ["undefined"]],
  ["options of an append", (wrong) => json.append(1, wrong), "options", ["undefined", "object", "map", "date", "bare", "error"]],
  ["source", (wrong) => json.appendStream(wrong), "source", ["array", "map"]],
  ["options of a source", (wrong) => json.appendStream([], wrong), "options", ["undefined", "object", "map", "date", "bare", "error"]],
  ["id of a pipe", (producerId) => json.writable({ producerId }), "producerId", ["undefined", "text"]],
  ["offset", (offset) => json.read({ offset }), "offset", ["undefined", "text"]],
  ["live", (live) => json.read({ live }), "live", ["undefined", "true"]],
  ["stream", (wrong) => new IdempotentProducer(wrong, "id"), "stream", []],
  ["producerId", (wrong) => new IdempotentProducer(json, wrong), "producerId", ["text"]],
  ["onError", (onError) => new IdempotentProducer(json, "id", { onError }), "onError", ["undefined", "function"]],
  ["lingerMs", (lingerMs) => new IdempotentProducer(json, "id", { lingerMs }), "lingerMs", ["undefined"]],
  ["autoClaim", (autoClaim) => new IdempotentProducer(json, "id", { autoClaim }), "autoClaim", ["undefined", "true"]],
  ["messages", (wrong) => producer.appendMany(wrong), "messages", ["array", "map", "text", "empty", "bytes"]],
  ["options of a flush", (wrong) => producer.flush(wrong), "options", ["undefined", "object", "map", "date", "bare", "error"]],
  ["timeoutMs", (timeoutMs) => producer.flush({ timeoutMs }), "timeoutMs", ["undefined", "number", "infinite"]],
  ["signal of a flush", (signal) => producer.flush({ signal }), "signal", ["undefined"]],
  ["createDurableStream", (wrong) => createDurableStream(wrong), undefined, []],
  ["schema", (wrong) => createDurableStream({ url: nowhere, producerId: "id", schema: wrong }), "schema", []],
  ["strict", (strict) => createDurableStream({ url: nowhere, producerId: "id", schema, strict }), "strict", ["undefined", "true"]],
  ["defineStreamSchema", (wrong) => defineStreamSchema(wrong), "schema", []],
  ["a definition", (t) => defineStreamSchema({ t }), "schema", []],
  ["its schema", (wrong) => defineStreamSchema({ t: { ...definition, schema: wrong } }), "schema", ["true", "object", "bare"]],
  ["its type", (type) => defineStreamSchema({ t: { ...definition, type } }), "schema", ["text"]],
  ["its primary key", (primaryKey) => defineStreamSchema({ t: { ...definition, primaryKey } }), "schema", ["text"]],
  ["flushAll", (wrong) => durstream.flushAll(wrong), "options", ["undefined", "object", "map", "date", "bare", "error"]],
  ["timeoutMs of all", (timeoutMs) => durstream.flushAll({ timeoutMs }), "timeoutMs", ["undefined", "number", "infinite"]],
  ["timeoutMs of the end", (wrong) => durstream.shutdown({ timeoutMs: wrong }), "timeoutMs", ["undefined", "number", "infinite"]],
  ["setExitTimeout", (wrong) => durstream.setExitTimeout(wrong), "timeoutMs", ["number", "infinite"]],
  ["setBufferBudget", (wrong) => durstream.setBufferBudget(wrong), "bytes", []],
  ["new StateProducer", (wrong) => new (durstream.StateProducer as any)(wrong), "options", []],
  ["new StreamSchema", (wrong) => new (durstream.StreamSchema as any)(wrong), "schema", []],
  ["new StreamReader", (wrong) => new (StreamReader as any)(wrong), "stream", []],
  ["new Chunk", (wrong) => new (Chunk as any)(wrong), "chunk", []],
];

for (const [name, call, option, right] of table) {
  test(`wrong arguments: ${name}`, async () => {
    for (const [kind, value] of Object.entries(all)) {
      if (right.includes(kind)) continue;
      const error = await rejectionOf((async () => call(value))());
      assert.ok(error instanceof DurstreamError, `${kind}: ${error}`);
      assert.ok(error instanceof InvalidArgumentError, `${kind}: ${error}`);
      if (option !== undefined) assert.equal(error.option, option, `${kind}: ${error}`);
      assert.doesNotMatch(error.message, SPEAKS_OF_ITSELF, kind);
    }
  });
}

/** What engines and glue say, and objects that were made text. */
const SPEAKS_OF_ITSELF = /\[object|Cannot (read|convert|perform)|is not a function|Failed to|GenericFailure|=> 1|the options are|serialize a/;

/** A write, and the values that it takes. */
const writes: [string, (wrong: any) => Receipt, string[]][] = [
  ["append of JSON", (wrong) => producer.tryAppend(wrong), ["null", "number", "true", "object", "array", "date", "bare"]],
  ["append of text", (wrong) => writer.tryAppend(wrong), ["text", "bytes"]],
  ["upsert", (wrong) => entities.upsert("t", wrong), []],
  ["upsert's collection", (wrong) => entities.upsert(wrong, { id: "a" }), []],
  ["upsert's key", (id) => entities.upsert("t", { id }), ["text", "true", "date"]],
  ["upsertJson", (wrong) => entities.upsertJson("t", wrong), []],
  ["upsertJson's collection", (wrong) => entities.upsertJson(wrong, '{"id":"a"}'), []],
  ["delete's collection", (wrong) => entities.delete(wrong, "a"), []],
  ["delete's key", (wrong) => entities.delete("t", wrong), ["bigint", "text", "true", "date"]],
];

for (const [name, write, right] of writes) {
  test(`wrong values: ${name}`, () => {
    for (const [kind, value] of Object.entries(all)) {
      const receipt = write(value);
      assert.equal(receipt.accepted, right.includes(kind), `${kind}: ${receipt.refusal?.error}`);
      if (receipt.accepted) continue;
      const error = receipt.refusal?.error;
      assert.ok(error instanceof ValidationError, `${kind}: ${error}`);
      assert.doesNotMatch(error.message, SPEAKS_OF_ITSELF, kind);
    }
  });
}

test("a producer's stream that is none is called so", async () => {
  const wrong = await rejectionOf((async () => new IdempotentProducer({} as never, "id"))());
  assert.equal(wrong.message, "`stream` is not a DurableStream but an object");
});

test("a bigint says where it is", () => {
  const receipt = producer.tryAppend({ a: [{ b: 1n }] });
  assert.match(String(receipt.refusal?.error?.message), /^JSON cannot say a bigint at \/a\/0\/b/);
});

test("secrets are in no text about headers", async () => {
  for (const headers of ["Bearer s3cret", ["Bearer s3cret"], [["Authorization", { s3cret: 1 }]]]) {
    const error = await rejectionOf((async () => new DurableStream({ url: nowhere, headers: headers as never }))());
    assert.doesNotMatch(error.message, /s3cret/);
  }
});

test("errors can be made, as tests make them", () => {
  for (const [name, Class] of Object.entries(durstream)) {
    if (!name.endsWith("Error")) continue;
    const cause = new Error("why");
    const made = new (Class as unknown as new (text?: string, more?: object) => DurstreamError)("mine", { cause });
    assert.ok(made instanceof DurstreamError && made instanceof (Class as unknown as typeof Error));
    assert.deepEqual([made.name, made.message, made.cause], [name, "mine", cause]);
    new (Class as unknown as new () => DurstreamError)();
  }
  assert.equal(new StaleEpochError("x").code, "STALE_EPOCH");
});

test("what they began ends", async () => {
  producer.stop();
  writer.stop();
  await entities.close().catch(() => undefined);
});
