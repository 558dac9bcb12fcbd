// How messages cross to the core: every text and every kind of memory, as they are at the call.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";

import {
  BufferFullError,
  DurableStream,
  IdempotentProducer,
  ProducerClosedError,
  TooLargeError,
  ValidationError,
} from "durstream";
import type { IdempotentProducerOptions, Message } from "durstream";
import { fresh, nowhere, readJson, succeed, thrownBy } from "./support.ts";

/** Up to so many bytes cross without memory of their own. */
const SMALL = 8192;

async function open(name: string, contentType: string, options: IdempotentProducerOptions = {}) {
  const handle = await DurableStream.create({ url: fresh(name), contentType });
  return { url: handle.url, producer: new IdempotentProducer(handle, "tester", options) };
}

async function readBytes(url: string): Promise<Buffer> {
  return Buffer.from(await (await fetch(`${url}?offset=-1`)).arrayBuffer());
}

test("text of every length around the room for small messages is whole", async () => {
  const { url, producer } = await open("border", "text/plain");
  const texts: string[] = [];
  for (const character of ["x", "ü", "漢", "🚢"]) {
    const size = Buffer.byteLength(character);
    for (let length = SMALL - 12; length <= SMALL + 12; length += 1) {
      const count = Math.floor(length / size);
      texts.push("-".repeat(length - count * size) + character.repeat(count));
    }
  }
  texts.push("x".repeat(100_000), "🚢".repeat(100_000), "ü" + "x".repeat(SMALL - 2) + "🚢");
  texts.forEach((text) => producer.append(text));
  assert.equal((await producer.detach()).delivered, texts.length);
  assert.deepEqual(await readBytes(url), Buffer.from(texts.join("")));
});

test("half a character becomes U+FFFD, wherever it stands", async () => {
  const { url, producer } = await open("surrogates", "text/plain");
  const texts = ["\ud83d", "a\udea2b", "\udea2\ud83d", "x".repeat(SMALL - 4) + "\ud83d", "\ud83d".repeat(SMALL)];
  texts.forEach((text) => producer.append(text));
  await producer.detach();
  assert.deepEqual(await readBytes(url), Buffer.concat(texts.map((text) => Buffer.from(text))));
});

test("JSON made of half a character says which", async () => {
  const { url, producer } = await open("surrogates-json", "application/json");
  producer.append({ text: "\ud83d" });
  producer.append('{"text":"\\ud83d"}');
  assert.equal((await producer.detach()).delivered, 2);
  assert.deepEqual(await readJson(url), [{ text: "\ud83d" }, { text: "\ud83d" }]);
});

test("bytes of every kind of memory are taken as they are at the call", async () => {
  const { url, producer } = await open("memory", "application/octet-stream");
  const expected: Buffer[] = [];
  const append = (bytes: Uint8Array) => {
    expected.push(Buffer.from(bytes.slice()));
    producer.append(bytes);
    bytes.fill(0);
  };
  const filled = (bytes: Uint8Array) => bytes.map((_, n) => n + 1);
  append(Uint8Array.of(1, 2, 3)); // not even an ArrayBuffer yet
  append(Buffer.from("pooled"));
  append(filled(new Uint8Array(1000)).subarray(100, 200));
  for (let length = SMALL - 2; length <= SMALL + 2; length += 1) append(filled(new Uint8Array(length)));
  append(filled(new Uint8Array(1 << 20)));
  for (const length of [10, SMALL, SMALL + 1, 1 << 20]) {
    const shared = new Uint8Array(new SharedArrayBuffer(length + 7), 7);
    shared.set(filled(new Uint8Array(length)));
    append(shared);
  }
  assert.equal((await producer.detach()).delivered, expected.length);
  assert.deepEqual(await readBytes(url), Buffer.concat(expected));
});

test("what another thread changes meanwhile is checked and sent as it was once", async (t) => {
  const shared = new SharedArrayBuffer(100_000);
  const bytes = new Uint8Array(shared).fill(0x20);
  bytes[0] = 0x31;
  const worker = new Worker(
    `const bytes = new Uint8Array(require("node:worker_threads").workerData);
     for (;;) bytes[50_000] = bytes[50_000] === 0x20 ? 0x78 : 0x20;`,
    { eval: true, workerData: shared },
  );
  t.after(() => worker.terminate());
  while (bytes[50_000] === 0x20) await new Promise((resolve) => setTimeout(resolve, 1));
  const handle = await DurableStream.create({ url: fresh("changing"), contentType: "application/json" });
  let delivered = 0;
  for (let n = 0; n < 500; n += 1) {
    const appended = n % 2 === 0 ? handle.append(bytes) : handle.appendStream([bytes]);
    const error = await appended.then(() => void (delivered += 1), (thrown) => thrown.cause ?? thrown);
    assert.ok(error === undefined || error instanceof ValidationError, String(error));
  }
  assert.equal((await readJson(handle.url)).length, delivered);
  const end = await handle.close({ body: bytes }).then(() => undefined, (thrown) => thrown);
  assert.ok(end === undefined || end instanceof ValidationError, String(end));
});

test("bytes that are gone are refused as empty", async () => {
  const { producer } = await open("detached", "application/octet-stream");
  for (const length of [10, 2 * SMALL]) {
    const bytes = new Uint8Array(length);
    structuredClone(bytes, { transfer: [bytes.buffer] });
    const error = thrownBy(() => producer.append(bytes));
    assert.ok(error instanceof ValidationError);
    assert.equal(error.reason, "invalid-value");
  }
});

test("what is far too large is refused as that", () => {
  const handle = new DurableStream({ url: nowhere, contentType: "application/octet-stream" });
  const producer = new IdempotentProducer(handle, "large", { onError: () => undefined });
  // Nobody has so much: it is there only once it is touched.
  assert.ok(thrownBy(() => producer.append(new Uint8Array(2 ** 32 - 1))) instanceof TooLargeError);
  assert.ok(thrownBy(() => producer.append("x".repeat(2 ** 27))) instanceof TooLargeError);
  assert.equal(producer.tryAppend("x".repeat(2 ** 27)).refusal?.reason, "too-large");
  assert.equal(producer.append("small").id, 1);
  producer.stop();
});

test("ids and order are those of the calls, whichever they are and whatever is refused between", async () => {
  const { url, producer } = await open("calls", "application/json");
  const ids: number[] = [];
  const expected: unknown[] = [];
  for (let n = 0; n < 300; n += 6) {
    ids.push(producer.append({ n }).id, producer.append(String(n + 1)).id);
    assert.ok(thrownBy(() => producer.append("{")) instanceof ValidationError);
    ids.push(producer.append(Buffer.from(String(n + 2))).id, producer.tryAppend([n + 3, new Date(0)]).id);
    assert.equal(producer.tryAppend({ n: NaN }).id, 0);
    assert.ok(thrownBy(() => producer.appendJson([NaN])) instanceof ValidationError);
    ids.push(producer.appendJson(`${n + 4}`).id, ...producer.appendMany([{ n: n + 5 }]).map(({ id }) => id));
    expected.push({ n }, n + 1, n + 2, [n + 3, "1970-01-01T00:00:00.000Z"], String(n + 4), { n: n + 5 });
  }
  assert.equal((await producer.detach()).delivered, 300);
  assert.deepEqual(ids, Array.from({ length: 300 }, (_, n) => n + 1));
  assert.deepEqual(await readJson(url), expected);
  for (const value of [{ n: 1 }, "1", Buffer.from("1"), new Date(0)] as Message[]) {
    assert.ok(thrownBy(() => producer.append(value)) instanceof ProducerClosedError);
    assert.equal(producer.tryAppend(value).refusal?.reason, "producer-stopped");
  }
});

test("a buffer that fills up in a burst says so at that very call", async () => {
  const handle = new DurableStream({ url: nowhere, contentType: "application/json" });
  const options = { maxBufferItems: 10, onError: () => undefined };
  const producer = new IdempotentProducer(handle, "burst", options);
  const accepted: number[] = [];
  let refused = 0;
  for (let n = 0; n < 30; n += 1) {
    try {
      accepted.push(producer.append(n % 2 === 0 ? { n } : String(n)).id);
    } catch (error) {
      assert.ok(error instanceof BufferFullError);
      refused += 1;
    }
  }
  assert.deepEqual(accepted, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.equal(refused, 20);
  assert.equal(producer.pendingCount, 10);
  producer.stop();
});

test("values of any depth are looked through to the ground", async () => {
  const { url, producer } = await open("deep", "application/json");
  const nested = (depth: number, ground: unknown): unknown =>
    depth === 0 ? ground : { in: [nested(depth - 1, ground)] };
  const depths = [1, 49, 50, 51, 500];
  for (const depth of depths) {
    producer.append(nested(depth, null) as Message);
    const refused = producer.tryAppend(nested(depth, NaN) as Message);
    assert.equal(refused.refusal?.reason, "serialization-failed", `${depth}`);
  }
  let endless: Message = null;
  for (let depth = 0; depth < 100_000; depth += 1) endless = [endless];
  assert.equal(producer.tryAppend(endless).refusal?.reason, "serialization-failed");
  await producer.detach();
  assert.deepEqual(await readJson(url), depths.map((depth) => nested(depth, null)));
});

test("what looks plain is looked at as closely as what does not", async () => {
  const { url, producer } = await open("plain", "application/json");
  const odd = Object.assign([1], { toJSON: () => [NaN] });
  const hollow: unknown[] = [];
  hollow.length = 2;
  const losses: unknown[] = [
    { a: null, b: { c: -Infinity } }, { a: [[NaN]] }, odd, { a: odd }, { a: [() => 1] }, { a: [Symbol("x")] },
    Object.assign(Object.create(null), { a: NaN }), { get a() { return NaN; } },
    { a: new (class extends Map {})() }, Object.create({ a: 1 }),
  ];
  for (const value of losses) {
    assert.equal(producer.tryAppend(value as Message).refusal?.reason, "serialization-failed");
  }
  const said: unknown[] = [
    { a: null, b: undefined, c: {}, d: [], e: -0, f: 1e21 }, [undefined, null], hollow,
    Object.assign(Object.create(null), { a: 1 }), { get a() { return 1; } },
    { toJSON: () => 7 }, { a: { toJSON: () => ({ b: null }) } }, { a: () => 1, b: 2 },
    { "\"\u2028\0": "\"\\\u2029\u007f" }, { a: new String("x"), b: new Number(1) },
  ];
  for (const value of said) assert.ok(producer.tryAppend(value as Message).accepted, JSON.stringify(value));
  await producer.detach();
  assert.deepEqual(await readJson(url), said.map((value) => JSON.parse(JSON.stringify(value))));
});

test("producers nobody holds any more deliver what they took", async () => {
  const url = fresh("collected");
  assert.equal(await succeed("collected", [url]), "collected\n");
  const found = (await readJson(url)).map(({ n }) => n).sort((a, b) => a - b);
  assert.deepEqual(found, Array.from({ length: 500 }, (_, n) => n));
});
