// Plain appends through refusals and cut connections: nothing is doubled, nothing is lost.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestContext } from "node:test";

import { DurableStream, IdempotentProducer, TransportError } from "durstream";
import { faults, fresh, readJson, readText, rejectionOf } from "./support.ts";

const events = Array.from({ length: 40 }, (_, n) => ({ n }));
const method = "POST";
const headers = { "Retry-After": "0" };

/** Half of them let the server store what the client is not told of. */
const rough = [
  { fault: "reset-after", method, skip: 2, times: 3 },
  { fault: "answer", method, status: 503, forward: true, times: 3 },
  { fault: "cut-answer", method, skip: 4, times: 2 },
  { fault: "reset-before", method, times: 3 },
  { fault: "answer", method, status: 503, headers },
  { fault: "reset-within", method, bytes: 3, times: 2 },
  { fault: "answer", method, status: 500, forward: true, times: 2 },
  { fault: "answer", method, status: 429, headers },
];

/** A stream, and a handle on it through the fault proxy. */
async function behind(t: TestContext, contentType: string, more: object = {}) {
  const url = fresh("faults");
  await DurableStream.create({ url, contentType });
  const proxy = await faults(t);
  const options = { contentType, retryInitialDelayMs: 1, retryMaxDelayMs: 5, ...more };
  return { url, proxy, handle: new DurableStream({ url: proxy.through(url), ...options }) };
}

for (const [name, write] of Object.entries({
  async "one after the other"(handle: DurableStream) {
    for (const event of events) {
      await handle.append(JSON.stringify(event))
    }
  },
  async "all at once"(handle: DurableStream) {
    await Promise.all(events.map((event) => handle.append(event)));
  },
  async "as promises"(handle: DurableStream) {
    await Promise.all(events.map((event) => handle.append(Promise.resolve(event))));
  },
  async "from a source"(handle: DurableStream) {
    await handle.appendStream(events.slice(0, 20));
    await handle.appendStream(events.slice(20));
  },
  async "by a producer"(handle: DurableStream) {
    const producer = new IdempotentProducer(handle, "my-service");
    for (const event of events) {
      producer.append(JSON.stringify(event))
    }
    await producer.flush()
  },
})) {
  test(`through refusals and cuts, ${name}: each is there, once`, async (t) => {
    const { url, proxy, handle } = await behind(t, "application/json");
    await proxy.add(...rough);
    await write(handle);
    assert.deepEqual(await readJson(url), events);
    const met = await proxy.met();
    if (name === "one after the other") {
      assert.equal(met.length, 17);
      assert.deepEqual(new Set(met), new Set(rough.map(({ fault }) => fault)));
    } else {
      assert.ok(met.length > 0);
    }
  });
}

test("without an identity what is unclear is told, and what was refused is repeated", async (t) => {
  const { url, proxy, handle } = await behind(t, "text/plain", { idempotent: false });
  for (const fault of [
    { fault: "reset-after", method },
    { fault: "answer", method, status: 500, forward: true },
    { fault: "answer", method, status: 503, forward: true },
  ]) {
    await proxy.add(fault);
    const error = await rejectionOf(handle.append("x"));
    assert.ok(error instanceof TransportError, String(error));
    assert.equal(error.definite, false);
  }
  assert.equal(await readText(url), "xxx");
  for (const status of [503, 429]) {
    await proxy.add({ fault: "answer", method, status, headers, times: 2 });
  }
  assert.equal((await handle.append("y")).attempts, 5);
  assert.equal((await handle.appendStream(["z", "z", "z"])).delivered, 3);
  assert.equal(await readText(url), "xxxyzzz");
});
