// Values that JSON would write without their content are refused, and say where they are.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createContext, runInContext } from "node:vm";

import { DurableStream, IdempotentProducer, ValidationError, createDurableStream, defineStreamSchema } from "durstream";
import type { Message } from "durstream";
import { z } from "zod";
import { fresh, freshPath, nowhere, readJson, rejectionOf, thrownBy, urlOf } from "./support.ts";

class Private {
  #name = "Ann";
  get name() { return this.#name; }
}
class Named extends Error {
  readonly status = 404;
}
function* generator() { yield 1; }
async function* asynchronous() { yield 1; }

const hollow: [string, () => object][] = [
  ["Error", () => new Error("no")],
  ["TypeError", () => new TypeError("no")],
  ["an error with fields", () => Object.assign(new Error("no"), { code: "ENOENT" })],
  ["a class of errors with fields", () => new Named("no")],
  ["an error of ours", () => thrownBy(() => new DurableStream({} as never))],
  ["DOMException", () => new DOMException("no")],
  ["RegExp", () => /a/],
  ["RegExp with a field", () => Object.assign(/a/, { a: 1 })],
  ["Map", () => new Map([[1, 2]])],
  ["Map with a field", () => Object.assign(new Map(), { a: 1 })],
  ["Set", () => new Set([1])],
  ["WeakMap", () => new WeakMap()],
  ["WeakSet", () => new WeakSet()],
  ["WeakRef", () => new WeakRef({})],
  ["Promise", () => Promise.resolve(1)],
  ["URLSearchParams", () => new URLSearchParams("a=1")],
  ["Headers", () => new Headers({ a: "1" })],
  ["FormData", () => new FormData()],
  ["Blob", () => new Blob(["a"])],
  ["Response", () => new Response("a")],
  ["AbortSignal", () => new AbortController().signal],
  ["ReadableStream", () => new ReadableStream()],
  ["Intl.NumberFormat", () => new Intl.NumberFormat("en")],
  ["an array's iterator", () => [1][Symbol.iterator]()],
  ["a map's iterator", () => new Map([[1, 2]]).entries()],
  ["a text's iterator", () => "a"[Symbol.iterator]()],
  ["matches", () => "a".matchAll(/a/g)],
  ["a generator", generator],
  ["an asynchronous generator", asynchronous],
  ["an instance with private fields", () => new Private()],
  ["an instance without fields", () => new (class Empty {})()],
  ["an instance whose fields are hidden", () => Object.defineProperty(new (class {})(), "a", { value: 1 })],
  ["what only inherits", () => Object.create({ a: 1 })],
  ["a boxed symbol", () => Object(Symbol("a"))],
  ["ArrayBuffer", () => new ArrayBuffer(1)],
  ["SharedArrayBuffer", () => new SharedArrayBuffer(1)],
  ["DataView", () => new DataView(new ArrayBuffer(1))],
  ["Float64Array", () => new Float64Array(1)],
  ["an empty Int8Array", () => new Int8Array()],
  ["Map of another realm", () => runInContext("new Map([[1, 2]])", realm)],
  ["Error of another realm", () => runInContext("Object.assign(new Error('no'), { code: 1 })", realm)],
  ["RegExp of another realm", () => runInContext("/a/", realm)],
  ["an invalid Date of another realm", () => runInContext("new Date(NaN)", realm)],
  ["an instance of another realm", () => runInContext("new (class Empty {})()", realm)],
];
const realm = createContext();
/** What has `toJSON` beside a value makes it no plainer. */
const beside = { toJSON: () => "said" };

test("append refuses them, wherever they are", async () => {
  const url = fresh("hollow");
  const handle = await DurableStream.create({ url, contentType: "application/json" });
  const producer = new IdempotentProducer(handle, "tester");
  for (const [name, make] of hollow) {
    const nested: [Message, string][] = [
      [{ a: make() }, "/a"],
      [[1, make()], "/1"],
      [{ beside, a: [{ "b/c": make() }] }, "/a/0/b~1c"],
    ];
    // What a `toJSON` gives is its author's, and looked at where it came to nothing.
    if (JSON.stringify(make()) === "{}") nested.push([{ toJSON: () => ({ a: make() }) }, "/a"]);
    for (const [value, path] of nested) {
      const error = producer.tryAppend(value).refusal?.error;
      assert.ok(error instanceof ValidationError, name);
      assert.equal(error.reason, "serialization-failed");
      assert.ok(error.message.includes(` at ${path}`), `${name}: ${error.message}`);
    }
    assert.equal(producer.tryAppend(make()).accepted, false, name);
    assert.ok(thrownBy(() => producer.append(make())) instanceof ValidationError, name);
    assert.equal((await rejectionOf(handle.append({ a: make() }))).reason, "serialization-failed", name);
  }
  producer.append({ last: true });
  await producer.detach();
  assert.deepEqual(await readJson(url), [{ last: true }]);
});

test("upsert refuses them, whoever validates", () => {
  const definition = { type: "a", primaryKey: "id" };
  const producer = createDurableStream({
    url: `${nowhere}-hollow`,
    producerId: "tester",
    schema: defineStreamSchema({
      core: { ...definition, schema: true },
      zod: { ...definition, type: "b", schema: z.object({ id: z.string(), a: z.any() }) },
    }),
  });
  for (const collection of ["core", "zod"] as const) {
    for (const [name, make] of hollow) {
      const { refusal } = producer.upsert(collection, { id: "1", a: make() });
      assert.equal(refusal?.reason, "serialization-failed", `${collection}: ${name}`);
      assert.ok(refusal?.error?.message.includes("/a"), refusal?.error?.message);
    }
  }
  producer.stop();
});

test("what JSON says whole is written as JSON.stringify writes it", async () => {
  class Point {
    x = 1;
    #hidden = 2;
    get hidden() { return this.#hidden; }
  }
  class Tagged {
    x = 1;
    get [Symbol.toStringTag]() { return "Map"; }
  }
  const values: object[] = [
    new Point(), { a: [new Point()] }, new Tagged(), { a: new Tagged() }, {}, { a: {} }, Object.create(null),
    new Date(0), { at: new Date(0), b: {}, c: null }, new URL("http://a/"), Object(1), { a: Object("x"), b: Object(true) },
    { a: 1, toJSON: 5 }, { beside, a: {} }, Object.assign(new (class extends Array {})(), [1, 2]), (function (..._: number[]) { return arguments; })(1, 2),
    runInContext("({ a: {}, b: [], c: new Date(0), d: new (class { x = 1 })() })", realm),
    runInContext("[Object(1), Object.create(null)]", realm),
  ];
  const path = freshPath("whole");
  const handle = await DurableStream.create({ streamPath: path, contentType: "application/json" });
  const producer = new IdempotentProducer(handle, "tester");
  for (const value of values) producer.appendJson(value);
  await producer.detach();
  assert.deepEqual(await readJson(urlOf(path)), values.map((value) => JSON.parse(JSON.stringify(value))));
});
