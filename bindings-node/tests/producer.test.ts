// IdempotentProducer and DurableStream: what goes in comes out, and what cannot go in says so.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";

import {
  BufferFullError,
  ConflictError,
  DeliveryError,
  DurableStream,
  IdempotentProducer,
  ProducerClosedError,
  StreamClosedError,
  StreamExistsError,
  StreamNotFoundError,
  TimeoutError,
  TooLargeError,
  TransportError,
  ValidationError,
} from "durstream";
import type { Failure, IdempotentProducerOptions } from "durstream";
import { fresh, isClosed, nowhere, readBytes, readJson, readText, rejectionOf, thrownBy } from "./support.ts";

async function open(
  name: string,
  contentType = "application/json",
  options: IdempotentProducerOptions = {},
) {
  const handle = await DurableStream.create({ url: fresh(name), contentType });
  return { handle, url: handle.url, producer: new IdempotentProducer(handle, "tester", options) };
}

/** Waits for what a callback or another thread brings about. */
async function until(holds: () => boolean): Promise<void> {
  for (let n = 0; n < 12_000 && !holds(); n += 1) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(holds(), `waited in vain for ${holds}`);
}

test("ten thousand messages arrive in order, once", async () => {
  const { url, producer } = await open("order", "application/json", { maxBatchBytes: 5000 });
  const receipts = Array.from({ length: 10_000 }, (_, n) => producer.append({ n }));
  const report = await producer.flush();

  assert.deepEqual(report, { delivered: 10_000, duplicates: 0, uncertain: 0, refused: 0 });
  assert.deepEqual(receipts.map(({ id }) => id), Array.from({ length: 10_000 }, (_, n) => n + 1));
  assert.deepEqual((await readJson(url)).map(({ n }) => n), [...receipts.keys()]);
  const stats = producer.stats();
  assert.equal(stats.accepted, stats.delivered);
  assert.equal(stats.bufferedBytes, 0);
  assert.equal(producer.pendingCount, 0);
  assert.equal(producer.inFlightCount, 0);
  assert.equal(producer.nextSeq, stats.requests - stats.retries);
  assert.ok(producer.lastSuccessfulOffset);
  assert.ok(Number.isSafeInteger(producer.epoch));
  assert.equal(producer.state, "ready");
});

test("text and JSON pass through byte for byte", async () => {
  const { url, producer } = await open("bytes");
  const texts = [
    '{"big":12345678901234567890,"small":1e-400}',
    '{ "white" : "space" }',
    '{"a":1,"a":2}',
    '"ünï – 漢字 – 🚢 – \\u0000"',
  ];
  texts.forEach((text, n) => producer.append(n % 2 === 0 ? text : new TextEncoder().encode(text)));
  await producer.flush();
  const text = await readText(url);
  for (const each of texts) assert.ok(text.includes(each), each);
});

test("bytes and unicode on streams that are not JSON", async () => {
  const { url, producer } = await open("raw", "application/octet-stream");
  const all = Uint8Array.from({ length: 256 }, (_, n) => n);
  producer.append(all);
  all.fill(0); // copied before the call returned
  producer.append(Buffer.from("🚢"));
  producer.append("漢字");
  producer.append(new Uint8Array(all.buffer, 0, 1));
  await producer.flush();

  const bytes = await readBytes(url);
  const expected = Uint8Array.from({ length: 256 }, (_, n) => n);
  assert.deepEqual(bytes, Buffer.concat([expected, Buffer.from("🚢漢字\0")]));
});

test("other values are serialised on JSON streams", async () => {
  const { url, producer } = await open("values");
  class Shipment {
    id = 1;
    made = new Date(0);
    skipped = undefined;
    toText = () => "a method";
  }
  producer.append({ a: [1, null, true, {}] });
  producer.append(5);
  producer.append(false);
  producer.append(null);
  producer.append(new Shipment());
  producer.appendJson("a text");
  const many = producer.appendMany([{ n: 1 }, "2", 3]);
  await producer.flush();

  assert.deepEqual(many.map(({ accepted }) => accepted), [true, true, true]);
  assert.deepEqual(await readJson(url), [
    { a: [1, null, true, {}] }, 5, false, null,
    { id: 1, made: "1970-01-01T00:00:00.000Z" },
    "a text", { n: 1 }, 2, 3,
  ]);
});

test("what JSON cannot say is refused, and nothing of it is sent", async () => {
  const { handle, url, producer } = await open("unsayable");
  const cycle: { self?: unknown } = {};
  cycle.self = cycle;
  const values: [unknown, RegExp][] = [
    [NaN, /NaN/], [Infinity, /Infinity/], [{ a: { "b/c": [NaN] } }, /NaN at \/a\/b~1c\/0/],
    [{ a: new Number(NaN) }, /NaN at \/a/], [1n, /BigInt/i], [{ a: 1n }, /BigInt/i],
    [undefined, /undefined/], [() => 1, /function/], [Symbol("x"), /symbol/], [[() => 1], /function/],
    [cycle, /circular/i], [{ a: new Uint8Array(2) }, /Uint8Array at \/a/],
    [{ a: new Uint8Array(0) }, /Uint8Array/], [{ a: Buffer.from("x") }, /Buffer/],
    [{ a: new ArrayBuffer(1) }, /ArrayBuffer/], [new Float64Array(1), /Float64Array/],
    [{ a: new Map([[1, 2]]) }, /Map/], [new Set([1]), /Set/], [Promise.resolve(1), /Promise/],
    [{ a: new Date(NaN) }, /invalid Date/], [{ toJSON: () => { throw new Error("mine"); } }, /mine/],
  ];
  for (const [value, text] of values) {
    const error = thrownBy(() => producer.append(value as never));
    assert.ok(error instanceof ValidationError, inspect(value));
    assert.equal(error.reason, "serialization-failed");
    assert.match(error.message, text);
    assert.equal(producer.tryAppend(value as never).refusal?.reason, "serialization-failed");
    assert.deepEqual(thrownBy(() => producer.appendMany([value as never, 1])).receipts, []);
    if (value instanceof Promise) continue; // what it resolves to is appended
    const alone = await rejectionOf(handle.append(value as never));
    assert.deepEqual({ ...alone }, { ...error });
    assert.equal(alone.message, error.message);
  }
  for (const text of ["", " ", "{", "1 2", "nonsense", new Uint8Array(0), Uint8Array.of(0x22, 0xff, 0x22)]) {
    const error = thrownBy(() => producer.append(text));
    assert.ok(error instanceof ValidationError);
    assert.equal(error.reason, "invalid-value");
  }
  const refused = values.length * 3 + 7;
  assert.deepEqual(await producer.flush(), { delivered: 0, duplicates: 0, uncertain: 0, refused });
  assert.equal(producer.stats().refusedInvalid, refused);
  assert.deepEqual(await readJson(url), []);
});

test("appendMany says how far it came", async () => {
  const { url, producer } = await open("many");
  let asked = 0;
  function* messages() {
    for (const message of ["1", { n: 2 }, NaN, "4"]) {
      asked += 1;
      yield message;
    }
  }
  const error = thrownBy(() => producer.appendMany(messages()));
  assert.ok(error instanceof ValidationError);
  assert.deepEqual(error.receipts?.map(({ id }) => id), [1, 2]);
  assert.equal(asked, 3);
  assert.equal("receipts" in thrownBy(() => producer.append(NaN)), false);
  await producer.flush();
  assert.deepEqual(await readJson(url), [1, { n: 2 }]);
});

test("what cannot even be shown is refused as well", async () => {
  const { handle, producer } = await open("unshowable");
  const { handle: texts, producer: writer } = await open("unshowable-text", "text/plain");
  const fickle = () => {
    let asked = 0;
    return { a: null, b: { toJSON: () => { if (asked++ > 0) throw new Error("mine"); return null; } } };
  };
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  const bare = { toJSON: () => { throw Object.create(null); } };
  const nameless = { constructor: { name: Symbol("x") }, n: NaN };
  for (const make of [fickle, () => proxy, () => bare, () => nameless]) {
    assert.equal(producer.tryAppend(make() as never).refusal?.reason, "serialization-failed");
    assert.equal(writer.tryAppend(make() as never).refusal?.reason, "serialization-failed");
    for (const stream of [handle, texts]) {
      assert.ok((await rejectionOf(stream.append(make() as never))) instanceof ValidationError);
      if (make() === proxy) continue; // nobody can say whether it is a promise
      const { cause } = await rejectionOf(stream.appendStream([make() as never]));
      assert.ok(cause instanceof ValidationError, String(cause));
    }
  }
  assert.deepEqual([producer.stats().refusedInvalid, writer.stats().refusedInvalid], [4, 4]);
});

test("objects are refused on streams that are not JSON", async () => {
  const { handle, producer } = await open("no-json", "text/plain");
  assert.match(thrownBy(() => producer.append({ a: 1 })).message, /not an object/);
  assert.ok((await rejectionOf(handle.append({ a: 1 }))) instanceof ValidationError);
  assert.ok((await rejectionOf(handle.append(""))) instanceof ValidationError);
});

test("receipts: plain, lazy, truthful, and no thenables", async () => {
  // It lingers until the flush, so that the receipts are looked at before they settle.
  const { producer } = await open("receipts", "application/json", { lingerMs: 60_000 });
  const receipt = producer.append("1");
  assert.equal(await (receipt as unknown), receipt);
  assert.deepEqual(JSON.parse(JSON.stringify(receipt)), { id: 1, accepted: true });
  assert.equal(receipt.refusal, undefined);
  const [outcome] = await Promise.all([receipt.completion, producer.flush()]);
  assert.equal(outcome.status, "delivered");
  assert.equal(outcome.attempts, 1);
  assert.equal(outcome.offset, producer.lastSuccessfulOffset);
  assert.equal(receipt.completion, receipt.completion);
  const refused = producer.tryAppend("{");
  assert.deepEqual([refused.id, refused.accepted], [0, false]);
  assert.equal((await refused.completion).status, "rejected");
  assert.ok((await refused.completion).error instanceof ValidationError);
});

test("no server: flush rejects within its limits and names the URL", async () => {
  const failures: [Error, Failure][] = [];
  const handle = new DurableStream({ url: nowhere, contentType: "text/plain" });
  const producer = new IdempotentProducer(handle, "nobody", {
    deliveryTimeoutMs: 2000,
    onError: (...failure) => failures.push(failure),
  });
  const receipt = producer.append("hello");
  const error = await rejectionOf(producer.flush());

  assert.ok(error instanceof DeliveryError);
  assert.deepEqual([error.delivered, error.undelivered, error.code], [0, 1, "DELIVERY"]);
  assert.ok(error.cause instanceof TransportError);
  assert.equal(error.cause.url, nowhere);
  assert.match(error.message, /127\.0\.0\.1:9/);
  assert.equal((await receipt.completion).status, "cancelled");
  assert.equal((await receipt.completion).reason, "expired");
  // onError heard of it before whoever flushed did.
  const [[first, failure] = assert.fail("onError was not called")] = failures;
  assert.ok(first instanceof TransportError);
  assert.equal(failure.id, receipt.id);
  assert.equal(Buffer.from(failure.payload).toString(), "hello");
  assert.equal(failure.outcome.reason, "expired");
  // Reported once; the next flush starts afresh.
  assert.deepEqual(await producer.flush(), { delivered: 0, duplicates: 0, uncertain: 0, refused: 0 });

  const patient = new IdempotentProducer(handle, "patient", { onError: () => undefined });
  patient.append("hello");
  assert.ok((await rejectionOf(patient.flush({ timeoutMs: 1 }))) instanceof TimeoutError);
  patient.stop();
});

test("a callback that throws is reported and stops nothing", async (t) => {
  const warned = t.mock.method(process, "emitWarning", () => undefined);
  const handle = new DurableStream({ url: nowhere, contentType: "text/plain" });
  for (const onError of [
    () => { throw new Error("mine"); },
    async () => { throw new Error("mine"); },
  ]) {
    const options = { deliveryTimeoutMs: 100, onError };
    const producer = new IdempotentProducer(handle, "thrower", options);
    producer.append("1");
    await rejectionOf(producer.flush());
  }
  await until(() => warned.mock.callCount() >= 2);
  assert.equal(warned.mock.callCount(), 2);
  assert.match(String(warned.mock.calls[0]?.arguments[0]), /onError.*mine/s);
});

test("a thousand failures are all handed over", async () => {
  const handle = new DurableStream({ url: nowhere, contentType: "text/plain" });
  let bytes = 0;
  const onError = (_: Error, { payload }: Failure) => { bytes += payload.length; };
  const producer = new IdempotentProducer(handle, "many", { deliveryTimeoutMs: 200, onError });
  for (let n = 0; n < 1000; n += 1) producer.append("x".repeat(5000));
  const error = await rejectionOf(producer.flush());
  assert.equal(error.undelivered, 1000);
  assert.equal(bytes, 5_000_000);
});

test("a full buffer answers at once", async () => {
  const handle = new DurableStream({ url: nowhere, contentType: "text/plain" });
  const producer = new IdempotentProducer(handle, "full", {
    maxBufferItems: 2,
    maxWriteBytes: 100,
    onError: () => undefined,
  });
  producer.append("1");
  producer.append("2");
  const error = thrownBy(() => producer.append("3"));
  assert.ok(error instanceof BufferFullError);
  assert.ok(error.retryable);
  assert.equal(producer.tryAppend("3").refusal?.reason, "buffer-count-exceeded");
  assert.ok(thrownBy(() => producer.append("x".repeat(101))) instanceof TooLargeError);
  producer.stop();
  assert.equal((await rejectionOf(producer.flush())).undelivered, 5);
});

test("stop settles what is pending", async () => {
  const handle = new DurableStream({ url: nowhere, contentType: "text/plain" });
  const producer = new IdempotentProducer(handle, "stopped", { onError: () => undefined });
  const receipt = producer.append("1");
  producer.stop();
  assert.equal((await receipt.completion).reason, "producer-stopped");
  assert.ok(thrownBy(() => producer.append("2")) instanceof ProducerClosedError);
});

test("close ends the stream with a last message; repeats answer the same", async () => {
  const { handle, url, producer } = await open("close");
  producer.append({ n: 1 });
  const result = await producer.close({ last: true });
  assert.ok(result.finalOffset);
  assert.deepEqual(await producer.close(), result);
  assert.deepEqual(await readJson(url), [{ n: 1 }, { last: true }]);
  assert.ok(await isClosed(url));
  assert.ok(thrownBy(() => producer.append("2")) instanceof ProducerClosedError);
  assert.ok((await rejectionOf(producer.close(1n as never))) instanceof ValidationError);
  const late = await rejectionOf(handle.append("3"));
  assert.ok(late instanceof StreamClosedError, String(late));
});

test("detach flushes and leaves the stream open", async () => {
  const { url, producer } = await open("detach");
  producer.append("1");
  assert.equal((await producer.detach()).delivered, 1);
  assert.ok(thrownBy(() => producer.append("2")) instanceof ProducerClosedError);
  assert.ok(!(await isClosed(url)));
});

test("await using detaches", async () => {
  const { url, handle } = await open("using");
  {
    await using producer = new IdempotentProducer(handle, "scoped");
    producer.append("1");
  }
  assert.deepEqual(await readJson(url), [1]);
});

test("a given-up flush consumes nothing", async () => {
  const handle = new DurableStream({ url: nowhere, contentType: "text/plain" });
  const options = { deliveryTimeoutMs: 300, onError: () => undefined };
  const producer = new IdempotentProducer(handle, "given-up", options);
  const receipt = producer.append("1");
  const controller = new AbortController();
  const reason = new Error("enough");
  const waiting = rejectionOf(producer.flush({ signal: controller.signal }));
  controller.abort(reason);
  assert.equal(await waiting, reason);
  assert.equal(await rejectionOf(producer.flush({ signal: AbortSignal.abort(reason) })), reason);
  await receipt.completion;
  assert.ok((await rejectionOf(producer.flush())) instanceof DeliveryError);
});

test("an abort begins the shutdown: no new writes, the accepted ones are delivered", async () => {
  const controller = new AbortController();
  const { url, producer } = await open("abort", "application/json", { signal: controller.signal });
  for (let n = 0; n < 100; n += 1) producer.append({ n });
  controller.abort();
  assert.ok(thrownBy(() => producer.append("1")) instanceof ProducerClosedError);
  // The one that was turned away is reported, once.
  await assert.rejects(producer.flush(), (error: DeliveryError) => error.delivered === 100 && error.undelivered === 1);
  await producer.close();
  assert.equal((await readJson(url)).length, 100);
  assert.ok(await isClosed(url));

  const late = await open("aborted", "application/json", { signal: AbortSignal.abort() });
  assert.ok(thrownBy(() => late.producer.append("1")) instanceof ProducerClosedError);
});

test("an end that never began leaves the signal its meaning", async () => {
  const controller = new AbortController();
  const { handle } = await open("not-begun");
  const other = new IdempotentProducer(handle, "other", { signal: controller.signal });
  await rejectionOf(other.detach({ timeoutMs: -1 }));
  assert.equal(await rejectionOf(other.detach({ signal: AbortSignal.abort("enough") })), "enough");
  assert.ok(other.append(1).accepted);
  controller.abort();
  assert.ok(thrownBy(() => other.append(2)) instanceof ProducerClosedError);
});

test("one signal ends many producers without a warning", async (t) => {
  const warned = t.mock.method(process, "emitWarning", () => undefined);
  const controller = new AbortController();
  const { handle } = await open("signals");
  const options = { signal: controller.signal };
  const producers = Array.from({ length: 30 }, (_, n) => new IdempotentProducer(handle, `p${n}`, options));
  controller.abort();
  for (const producer of producers) assert.match(producer.state, /^stopp/);
  assert.equal(warned.mock.callCount(), 0);
});

test("DurableStream: promises are awaited, streams are told apart", async () => {
  const { url, handle } = await open("plain");
  const outcome = await handle.append(Promise.resolve({ n: 1 }));
  assert.equal(outcome.status, "delivered");
  await Promise.all([handle.append({ n: 2 }), handle.append("3")]);
  assert.deepEqual(await readJson(url), [{ n: 1 }, { n: 2 }, 3]);
  assert.equal((await rejectionOf(handle.append(Promise.reject(new Error("mine"))))).message, "mine");

  const exists = await rejectionOf(DurableStream.create({ url, contentType: "text/plain" }));
  assert.ok(exists instanceof StreamExistsError);
  assert.equal(exists.status, 409);
  const again = await DurableStream.create({ url, contentType: "application/json" });
  assert.equal(again.url, url);

  const missing = await DurableStream.connect({ url: fresh("missing"), contentType: "text/plain" });
  assert.ok((await rejectionOf(missing.append("1"))) instanceof StreamNotFoundError);
  const wrong = new DurableStream({ url, contentType: "text/plain" });
  assert.ok((await rejectionOf(wrong.append("1"))) instanceof ConflictError);
  assert.equal((await rejectionOf(handle.append("1", { producerSeq: 1 } as never))).code, "NOT_SUPPORTED");
  assert.equal((await rejectionOf(handle.append("1", { contentType: "a/b" }))).option, "contentType");
});

test("create without a server fails after its repeats", async () => {
  const error = await rejectionOf(DurableStream.create({ url: nowhere, maxRetries: 1 }));
  assert.ok(error instanceof TransportError);
  assert.equal(error.url, nowhere);
});

test("a wait that ran out names the failure the producer is in", async () => {
  const handle = new DurableStream({ url: nowhere, contentType: "text/plain" });
  const producer = new IdempotentProducer(handle, "overdue", { maxBufferItems: 1 });
  producer.append("x");
  while (producer.snapshot().lastError === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(!producer.tryAppend("y").accepted);
  for (const wait of [
    () => producer.flush({ timeoutMs: 20 }),
    () => producer.ready({ timeoutMs: 20 }),
    () => producer.close(undefined, { timeoutMs: 20 }),
  ]) {
    const error = await rejectionOf(wait());
    assert.ok(error instanceof TimeoutError && error.cause instanceof TransportError, String(error));
    assert.match(error.message, /The last failure: append failed/);
  }
  producer.stop();
});
