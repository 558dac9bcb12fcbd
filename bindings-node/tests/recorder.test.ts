// A recorder in a server's place: what it shows, and what it does to writes; and `inspect`.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createRequire } from "node:module";
import { test } from "node:test";
import { Worker } from "node:worker_threads";

import {
  DurableStream,
  IdempotentProducer,
  InvalidArgumentError,
  NotSupportedError,
  createDurableStream,
  defineStreamSchema,
  inspect,
} from "durstream";
import { Recorder } from "durstream/testing";
import { thrownBy } from "./support.ts";

const schema = defineStreamSchema({
  orders: { schema: { type: "object", required: ["id"] }, type: "order", primaryKey: "id" },
});

function open(recorder: Recorder, more: object = {}) {
  const place = { endpoints: recorder.url, streamPath: "/orders" };
  return createDurableStream({ schema, producerId: "service", retryInitialDelayMs: 1, ...place, ...more });
}

function keys(recorder: Recorder): string[] {
  return recorder.events<{ key: string }>("/orders").map(({ key }) => key);
}

test("what was written is shown since it was cleared", async () => {
  const recorder = new Recorder();
  assert.deepEqual([recorder.events("/orders"), recorder.content("/orders").length], [[], 0]);
  const producer = open(recorder);
  producer.upsert("orders", { id: "a" });
  await producer.flush();
  const event = { type: "order", key: "a", value: { id: "a" }, headers: { operation: "upsert" } };
  assert.deepEqual(recorder.events("orders"), [event]);
  assert.equal(new TextDecoder().decode(recorder.content("/orders")), JSON.stringify([event]));
  recorder.clear();
  producer.delete("orders", "a");
  await producer.close();
  assert.deepEqual(recorder.events("/orders"), [
    { type: "order", key: "a", headers: { operation: "delete" } },
  ]);
});

test("bytes have no events", async () => {
  const recorder = new Recorder();
  const stream = await DurableStream.create({ url: `${recorder.url}/log`, contentType: "text/plain" });
  const producer = new IdempotentProducer(stream, "p");
  producer.append("ab");
  await producer.detach();
  assert.equal(new TextDecoder().decode(recorder.content("/log")), "ab");
  assert.throws(() => recorder.events("/log"), NotSupportedError);
});

test("what is held is pending until it is released", async () => {
  const recorder = new Recorder();
  const producer = open(recorder);
  recorder.hold();
  const receipt = producer.upsert("orders", { id: "a" });
  await assert.rejects(producer.flush({ timeoutMs: 20 }), { code: "TIMEOUT" });
  assert.deepEqual(keys(recorder), []);
  recorder.release();
  assert.equal((await receipt.completion).status, "delivered");
  assert.deepEqual(keys(recorder), ["a"]);
  assert.throws(() => recorder.release(), /`hold` comes first/);
  await producer.close();
});

test("rejected writes say why and take no neighbour", async () => {
  const recorder = new Recorder();
  const told: unknown[] = [];
  const onError = (error: Error) => void told.push(error);
  const producer = open(recorder, { onError });
  recorder.reject('"b"', "too-large");
  const receipts = ["a", "b", "c"].map((id) => producer.upsert("orders", { id }));
  const outcomes = await Promise.all(receipts.map(({ completion }) => completion));
  assert.deepEqual(outcomes.map(({ reason }) => reason), [undefined, "too-large", undefined]);
  await assert.rejects(producer.flush(), { code: "DELIVERY" });
  assert.deepEqual([keys(recorder), told.length], [["a", "c"], 1]);
  recorder.deliver();
  producer.upsert("orders", { id: "b" });
  assert.equal((await producer.flush()).delivered, 1);
  await producer.close();
});

test("requests that fail are repeated, and fenced ones are not", async () => {
  const recorder = new Recorder();
  recorder.fail(2);
  const producer = open(recorder);
  assert.equal((await producer.upsert("orders", { id: "a" }).completion).status, "delivered");
  recorder.fence();
  assert.equal((await producer.upsert("orders", { id: "b" }).completion).reason, "fenced");
  recorder.fail();
  const late = open(recorder, { streamPath: "/late", deliveryTimeoutMs: 50 });
  assert.equal((await late.upsert("orders", { id: "c" }).completion).reason, "expired");
  late.stop();
});

test("recorders know nothing of each other", async () => {
  const recorders = [new Recorder(), new Recorder()] as const;
  const first = open(recorders[0]);
  const second = open(recorders[1], { strict: true });
  first.upsert("orders", { id: "a" });
  await Promise.all([first.close(), second.close()]);
  assert.deepEqual(recorders.map(keys), [["a"], []]);
});

test("a recorder of nobody's is not found", () => {
  const wrong = () => new DurableStream({ url: "http://recorder-0.invalid/v1/stream/a" });
  assert.match(thrownBy(wrong).message, /there is no recorder at http:/);
});

for (const [name, call] of [
  ["path", (recorder) => recorder.events(5 as unknown as string)],
  ["path", (recorder) => recorder.content(undefined as unknown as string)],
  ["containing", (recorder) => recorder.reject(null as unknown as string)],
  ["reason", (recorder) => recorder.reject("a", "no-such-reason" as "refused")],
  ["reason", (recorder) => recorder.reject("a", "fenced" as "refused")],
  ["times", (recorder) => recorder.fail(0)],
  ["times", (recorder) => recorder.fail("1" as unknown as number)],
] as [string, (recorder: Recorder) => unknown][]) {
  test(`wrong arguments are named: ${name}, ${call}`, () => {
    const error = thrownBy(() => call(new Recorder()));
    assert.ok(error instanceof InvalidArgumentError);
    assert.equal(error.option, name);
    assert.ok(error.message.includes(`\`${name}\``), error.message);
  });
}

test("a worker's environment is its own, and no other is looked at", async () => {
  const code = `
    const { parentPort, workerData } = require("node:worker_threads");
    const { inspect, defineStreamSchema } = require(workerData);
    const schema = defineStreamSchema({ a: { schema: true, type: "a", primaryKey: "id" } });
    const look = () => inspect({ streamPath: "/a", schema, producerId: "a" }).url;
    process.env.DURABLE_STREAMS_URL = "http://127.0.0.1:9";
    const found = look();
    delete process.env.DURABLE_STREAMS_URL;
    try { look() } catch (error) { parentPort.postMessage([found, error.option]) }
  `;
  const workerData = createRequire(import.meta.url).resolve("durstream");
  const worker = new Worker(code, { eval: true, workerData });
  const [found] = (await once(worker, "message")) as [unknown];
  assert.deepEqual(found, ["http://127.0.0.1:9/v1/stream/a", "url"]);
  await worker.terminate();
});

test("inspect tells what would be opened, and no secret", () => {
  const told = inspect({
    schema: defineStreamSchema({
      orders: { schema: { properties: { id: { type: "integer" } } }, type: "order", primaryKey: "id" },
    }),
    producerId: "service",
    url: "http://user:s3cret-1@127.0.0.1:9/a?key=s3cret-2",
    headers: { authorization: "s3cret-3", "x-token": () => "s3cret-4" },
    params: { tenant: "s3cret-5" },
    lingerMs: 5,
  });
  assert.ok(!JSON.stringify(told).includes("s3cret"));
  assert.deepEqual([told.url, told.params], ["http://127.0.0.1:9/a", ["tenant"]]);
  assert.deepEqual(told.headers, { authorization: { from: "given" }, "x-token": { from: "function" } });
  assert.deepEqual(told.options.linger_ms, { value: 5, from: "given" });
  assert.deepEqual(told.options.max_in_flight, { value: 5, from: "default" });
  const orders = { type: "order", primary_key: "id", validator: "json-schema" };
  assert.deepEqual(told.collections, { orders });
  assert.deepEqual(told.warnings.map(({ code }) => code), ["numeric-primary-key"]);
});

test("inspect refuses what opening refuses", () => {
  const good = { schema, producerId: "service", url: "http://h/a" };
  for (const [wrong, option] of [
    [{ schema: {} }, "schema"],
    [{ producerId: "a b" }, "producerId"],
    [{ onError: 5 }, "onError"],
    [{ signal: 5 }, "signal"],
    [{ maxInFlight: 0 }, "maxInFlight"],
    [{ streamPath: "/a" }, "url"],
    [{ linger: 5 }, "linger"],
  ] as [object, string][]) {
    for (const call of [inspect, createDurableStream] as ((options: any) => unknown)[]) {
      assert.equal(thrownBy(() => call({ ...good, ...wrong })).option, option);
    }
  }
});
