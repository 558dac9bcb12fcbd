// Headers whose values are functions: asked once per request, and a request waits for its answer.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestContext } from "node:test";

import {
  DeliveryError,
  DurableStream,
  IdempotentProducer,
  TransportError,
  createDurableStream,
  defineStreamSchema,
} from "durstream";
import type { HeaderFunction, HeaderValue, HeadersRecord } from "durstream";
import { acknowledgement, fresh, readJson, rejectionOf, run, serve } from "./support.ts";

const contentType = "text/plain";
const quick = { retryInitialDelayMs: 1, retryMaxDelayMs: 1 };

/** A server that takes everything but what it has a status for, and what came with a header. */
async function listen(t: TestContext, name: string, statuses: number[] = []) {
  const seen: (string | undefined)[] = [];
  const url = await serve(t, (request, response) => {
    seen.push(request.headers[name]?.toString());
    request.resume().on("end", () => {
      const status = statuses.shift() ?? (request.method === "PUT" ? 201 : 200);
      response.writeHead(status, status < 400 ? acknowledgement(request) : {}).end();
    });
  });
  return { url, seen };
}

/** Gives `token-1`, `token-2`, ... */
function counting(): () => string {
  let calls = 0;
  return () => {
    calls += 1;
    return `token-${calls}`;
  };
}

for (const [kind, wrap] of [
  ["at once", (give: () => string): HeaderFunction => give],
  ["as a promise", (give: () => string): HeaderFunction => async () => give()],
  [
    "after a while",
    (give: () => string): HeaderFunction => () =>
      new Promise((resolve) => setTimeout(() => resolve(give()), 5)),
  ],
] as const) {
  test(`a function is asked for each request: it answers ${kind}`, async (t) => {
    const { url, seen } = await listen(t, "authorization");
    const headers = { Authorization: wrap(counting()), "X-Fixed": "1" };
    const handle = new DurableStream({ url, contentType, headers });
    for (const message of ["a", "b", "c"]) await handle.append(message);
    assert.deepEqual(seen, ["token-1", "token-2", "token-3"]);
  });
}

test("its value is kept for the repeats of a request", async (t) => {
  const { url, seen } = await listen(t, "x-token", [503, 503]);
  const handle = new DurableStream({ url, contentType, ...quick, headers: { "X-Token": counting() } });
  await handle.append("a");
  await handle.append("b");
  assert.deepEqual(seen, ["token-1", "token-1", "token-1", "token-2"]);
});

test("it is asked again after 401 and 403", async (t) => {
  const { url, seen } = await listen(t, "authorization", [401, 200, 403]);
  const handle = new DurableStream({ url, contentType, ...quick });
  const headers = new Map([["Authorization", counting()]]);
  const producer = new IdempotentProducer(handle, "asked", { headers, ...quick });
  producer.append("a");
  await producer.flush();
  producer.append("b");
  assert.deepEqual(await producer.flush(), { delivered: 1, duplicates: 0, uncertain: 0, refused: 0 });
  assert.deepEqual(seen, ["token-1", "token-2", "token-3", "token-4"]);
});

test("a producer has its stream's functions, and its own on top", async (t) => {
  const { url, seen } = await listen(t, "x-token");
  const handle = new DurableStream({ url, contentType, headers: { "X-Token": () => "stream" } });
  const own: HeadersRecord[] = [{}, { "X-Token": () => "own" }, { "x-token": "fixed" }];
  for (const headers of own) {
    const producer = new IdempotentProducer(handle, "own", { headers });
    producer.append("a");
    await producer.detach();
  }
  assert.deepEqual(seen, ["stream", "own", "fixed"]);
});

test("writes wait for a function that fails, and none is lost", async () => {
  const url = fresh("failing");
  const handle = await DurableStream.create({ url, contentType: "application/json" });
  const broken: (() => unknown)[] = [
    () => { throw new Error("the token service is down"); },
    () => { throw undefined; },
    () => { throw Object.create(null); },
    async () => { throw new Error("rejected"); },
    () => undefined,
    () => Promise.resolve(5),
    () => "a\r\nb: c",
    () => ({ then: () => { throw new Error("a thenable's own"); } }),
  ];
  const errors: string[] = [];
  let producer: IdempotentProducer | undefined;
  const give = () => {
    const { lastError } = producer!.snapshot();
    if (lastError) errors.push(lastError.message);
    return (broken.shift() ?? (() => "good"))() as string;
  };
  producer = new IdempotentProducer(handle, "failing", { headers: { "X-Token": give }, ...quick });
  producer.appendMany([1, 2, 3]);
  assert.deepEqual(await producer.flush(), { delivered: 3, duplicates: 0, uncertain: 0, refused: 0 });
  assert.deepEqual(await readJson(url), [1, 2, 3]);
  assert.equal(broken.length, 0);
  for (const reason of [
    /`x-token` failed: the token service is down/, /undefined/, /cannot be shown/, /rejected/,
    /no text but undefined/, /no text but number/, /control characters/, /a thenable's own/,
  ]) {
    assert.match(errors.shift() ?? "nothing", reason);
  }
});

test("without a value writes end with the reason", async (t) => {
  const { url, seen } = await listen(t, "x-token");
  const headers: HeadersRecord = [["X-Token", () => Promise.reject(new Error("no token"))]];
  const handle = new DurableStream({ url, contentType, headers, maxRetries: 1, ...quick });
  const options = { deliveryTimeoutMs: 2000, onError: () => undefined, ...quick };
  const producer = new IdempotentProducer(handle, "none", options);
  producer.append("a");
  const error = await rejectionOf(producer.flush());
  assert.ok(error instanceof DeliveryError);
  assert.match(String(error.cause), /`x-token` failed: no token/);
  const failed = await rejectionOf(handle.head());
  assert.ok(failed instanceof TransportError);
  assert.match(failed.message, /no token/);
  assert.deepEqual(seen, []);
});

test("a promise that never settles is given up, and asked for again", async (t) => {
  const { url, seen } = await listen(t, "x-token");
  const answers: Promise<string>[] = [new Promise(() => undefined)];
  const headers = { "X-Token": () => answers.shift() ?? "later" };
  const handle = new DurableStream({ url, contentType, headers, requestTimeoutMs: 200, ...quick });
  await handle.append("a");
  assert.equal(answers.length, 0);
  // A slow machine may have sent it more than once.
  assert.deepEqual([...new Set(seen)], ["later"]);
});

test("state producers ask for every request too", async (t) => {
  const { url, seen } = await listen(t, "x-token");
  const schema = defineStreamSchema({ a: { schema: true, type: "a", primaryKey: "id" } });
  const headers: Record<string, HeaderValue> = { "X-Token": counting() };
  const producer = createDurableStream({ url, schema, producerId: "state", headers });
  await producer.ready();
  producer.upsert("a", { id: 1 });
  await producer.close();
  assert.ok(seen.length >= 2);
  assert.deepEqual(seen, seen.map((_, n) => `token-${n + 1}`));
});

test("an idle function does not keep Node alive, pending writes are flushed through one", async () => {
  const url = fresh("exit");
  const { code, stdout, stderr } = await run("asked", [url, "gives"]);
  assert.deepEqual([code, stdout, stderr], [0, "the end is reached\n", ""]);
  assert.deepEqual(await readJson(url), [1, 2]);
});

test("a function that never answers does not keep Node alive", async () => {
  const url = fresh("exit-stuck");
  const { code, stdout, stderr } = await run("asked", [url, "hangs"]);
  assert.deepEqual([code, stdout], [0, "the end is reached\n"]);
  assert.match(stderr, /1 write was still pending/);
  assert.deepEqual(await readJson(url), [1]);
});
