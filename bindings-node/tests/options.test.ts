// Options: wrong ones name themselves, in JavaScript's spelling.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";

import {
  DurableStream,
  IdempotentProducer,
  InvalidArgumentError,
  NotSupportedError,
  createDurableStream,
  defineStreamSchema,
  flushAll,
  setBufferBudget,
  setExitTimeout,
  shutdown,
} from "durstream";
import type { DurableStreamOptions, StateProducerOptions } from "durstream";
import { fresh, freshPath, nowhere, readJson, rejectionOf, run, thrownBy } from "./support.ts";

const stream = new DurableStream({ url: nowhere, contentType: "application/json" });
const schema = defineStreamSchema({ a: { schema: true, type: "a", primaryKey: "id" } });
const producer = (options: object) => () => new IdempotentProducer(stream, "id", options);
const handle = (options: object) => () => new DurableStream(options as never);
const state = (options: object) => () =>
  createDurableStream({ url: nowhere, schema, producerId: "id", ...options });

for (const [option, call] of [
  ["lingerMs", producer({ lingerMs: -1 })],
  ["lingerMs", producer({ lingerMs: "5" })],
  ["lingerMs", producer({ lingerMs: NaN })],
  ["lingerMs", producer({ lingerMs: null })],
  ["maxInFlight", producer({ maxInFlight: 0 })],
  ["maxBatchBytes", producer({ maxBatchBytes: 1.5 })],
  ["epoch", producer({ epoch: 2 ** 53 })],
  ["autoClaim", producer({ autoClaim: "true" })],
  ["onUncertain", producer({ onUncertain: "maybe" })],
  ["outboxDir", producer({ outboxDir: new URL("file:///tmp/outbox") })],
  ["outboxDir", producer({ outboxDir: "" })],
  ["outboxSync", producer({ outboxSync: "always" })],
  ["outboxRecovery", producer({ outboxRecovery: "repair" })],
  ["outboxMaxBytes", producer({ outboxMaxBytes: 0 })],
  ["retryMultiplier", producer({ retryMultiplier: 0.5 })],
  ["linger_ms", producer({ linger_ms: 5 })],
  ["nonsense", producer({ nonsense: 1 })],
  ["ttlSeconds", producer({ ttlSeconds: 1 })],
  ["fetch", producer({ fetch })],
  ["signal", producer({ signal: {} })],
  ["onError", producer({ onError: "log" })],
  ["headers", producer({ headers: { "Producer-Epoch": "1" } })],
  ["headers", producer({ headers: { "X-A": "a\r\nb: c" } })],
  ["headers", producer({ headers: { "X-A": 1 } })],
  ["headers", producer({ headers: "X-A: 1" })],
  ["headers", producer({ headers: { "Producer-Epoch": () => "1" } })],
  ["headers", handle({ url: nowhere, headers: { "a b": () => "1" } })],
  ["headers", state({ headers: { Host: () => "1" } })],
  ["bytes", () => setBufferBudget(-1)],
  ["bytes", () => setBufferBudget(1.5)],
  ["bytes", () => setBufferBudget("1" as never)],
  ["options", producer(null as never)],
  ["timeoutMs", () => setExitTimeout(-1)],
  ["timeoutMs", () => setExitTimeout("1" as never)],
  ["messages", () => producer({})().appendMany(null as never)],
  ["producerId", () => new IdempotentProducer(stream, "")],
  ["producerId", () => new IdempotentProducer(stream, "ü")],
  ["producerId", () => new IdempotentProducer(stream, undefined as never)],
  ["stream", () => new IdempotentProducer({ url: nowhere } as never, "id")],
  ["url", handle({})],
  ["url", handle({ url: "nonsense" })],
  ["url", handle({ url: "ftp://host/a" })],
  ["url", handle({ url: 5 })],
  ["url", handle({ url: nowhere, streamPath: "/a" })],
  ["options", handle(undefined as never)],
  ["streamPath", handle({ streamPath: "/a/../b" })],
  ["fetch", handle({ url: nowhere, fetch })],
  ["expiresAt", handle({ url: nowhere, expiresAt: new Date(), ttlSeconds: 1 })],
  ["expiresAt", handle({ url: nowhere, expiresAt: new Date(NaN) })],
  ["params", handle({ url: nowhere, params: { a: 1 } })],
  ["params", handle({ url: nowhere, params: "a=b" })],
  ["params", handle({ url: nowhere, params: { offset: "1" } })],
  ["params", producer({ params: { live: "sse" } })],
  ["params", state({ params: { "": "1" } })],
  ["closed", handle({ url: nowhere, closed: "yes" })],
  ["closed", producer({ closed: true })],
  ["forkSubOffset", handle({ url: nowhere, forkSubOffset: -1 })],
  ["maxReadBytes", handle({ url: nowhere, maxReadBytes: 0 })],
  ["retryMaxDelayMs", handle({ url: nowhere, retryInitialDelayMs: 2, retryMaxDelayMs: 1 })],
  ["producerId", state({ producerId: undefined })],
  ["producerId", state({ producerId: "a b" })],
  ["schema", state({ schema: undefined })],
  ["schema", state({ schema: {} })],
  ["contentType", state({ contentType: "text/plain" })],
] as [string, () => unknown][]) {
  test(`\`${option}\` is named: ${String(call).slice(0, 60)}`, () => {
    const error = thrownBy(call);
    assert.ok(error instanceof InvalidArgumentError, String(error));
    assert.equal(error.option, option, error.message);
    assert.equal(error.code, "INVALID_ARGUMENT");
    if (option !== "linger_ms") assert.doesNotMatch(error.message, /`[a-z]+_[a-z]+`/);
  });
}

const never = [-1, NaN, Infinity, -Infinity, 10n, "5", "", true, false, null, [1]];
const delays = [...never, 0, 1.5, 86_400_001, 2 ** 53, 1e300];
for (const [option, wrong] of [
  ["maxRetries", [...never, 1.5, 1001, 2 ** 53]],
  ["retryInitialDelayMs", delays],
  ["retryMaxDelayMs", delays],
  ["retryMultiplier", [...never, 0, 0.5, 0.999]],
] as [string, unknown[]][]) {
  test(`\`${option}\` is checked at construction`, async () => {
    for (const value of wrong) {
      const options = { url: nowhere, [option]: value };
      const thrown = [
        thrownBy(handle(options)),
        await rejectionOf(DurableStream.connect(options as never)),
        await rejectionOf(DurableStream.create(options as never)),
      ];
      if (option !== "maxRetries") {
        thrown.push(thrownBy(producer({ [option]: value })), thrownBy(state({ [option]: value })));
      }
      for (const error of thrown) {
        assert.ok(error instanceof InvalidArgumentError, `${String(value)}: ${error}`);
        assert.equal(error.option, option, error.message);
        assert.match(error.message, new RegExp(`\`${option}\``));
      }
    }
  });
}

test("the options of a call are an object or left out", async () => {
  const writer = producer({})();
  const entities = state({})();
  const reader = stream.read();
  const calls: [string, (options: never) => unknown][] = [
    ["connect", (options) => DurableStream.connect(options)],
    ["create", (options) => DurableStream.create(options)],
    ["static head", (options) => DurableStream.head(options)],
    ["static delete", (options) => DurableStream.delete(options)],
    ["head", (options) => stream.head(options)],
    ["append", (options) => stream.append(1, options)],
    ["appendStream", (options) => stream.appendStream([1], options)],
    ["writable", (options) => stream.writable(options)],
    ["close", (options) => stream.close(options)],
    ["delete", (options) => stream.delete(options)],
    ["read", (options) => stream.read(options)],
    ["nextChunk", (options) => reader.nextChunk(options)],
    ["producer's flush", (options) => writer.flush(options)],
    ["producer's ready", (options) => writer.ready(options)],
    ["producer's restart", (options) => writer.restart(options)],
    ["producer's close", (options) => writer.close(1, options)],
    ["producer's detach", (options) => writer.detach(options)],
    ["state's flush", (options) => entities.flush(options)],
    ["state's ready", (options) => entities.ready(options)],
    ["state's close", (options) => entities.close(options)],
    ["createDurableStream", (options) => createDurableStream(options)],
    ["flushAll", (options) => flushAll(options)],
    ["shutdown", (options) => shutdown(options)],
  ];
  for (const [name, call] of calls) {
    for (const wrong of [null, 5, "timeoutMs"]) {
      const error = await rejectionOf((async () => call(wrong as never))());
      assert.ok(error instanceof InvalidArgumentError, `${name}(${wrong}): ${error}`);
      assert.equal(error.option, "options", name);
    }
  }
  // None of them began anything.
  assert.equal(writer.append(1).accepted, true);
  assert.equal(entities.upsert("a", { id: 1 }).accepted, true);
  writer.stop();
  entities.stop();
});

test("the least and the most of retries are taken", () => {
  const least = { retryInitialDelayMs: 1, retryMaxDelayMs: 1, retryMultiplier: 1 };
  const most = { retryInitialDelayMs: 86_400_000, retryMaxDelayMs: 86_400_000, retryMultiplier: 1.5 };
  handle({ url: nowhere, maxRetries: 0, ...least })();
  handle({ url: nowhere, maxRetries: 1000, ...most })();
});

test("a near miss is met with the right spelling", () => {
  assert.match(thrownBy(producer({ linger_ms: 5 })).message, /did you mean `lingerMs`/);
  assert.match(thrownBy(producer({ onDelivered: 5 })).message, /no option `onDelivered`$/);
  assert.match(thrownBy(producer({ deliveryTimeout: 5 })).message, /did you mean `deliveryTimeoutMs`/);
  assert.match(thrownBy(producer({ constructor: 1 })).message, /no option `constructor`/);
});

test("no name makes an error long", () => {
  const name = "é".repeat(2_000_000);
  const one = { schema: {}, type: "a", primaryKey: "id" };
  for (const call of [
    producer({ [name]: 1 }),
    producer({ headers: { [name]: "1" } }),
    producer({ headers: { [name]: 1 } }),
    producer({ params: { [name]: () => "x" } }),
    handle({ url: nowhere, [name]: name }),
    () => defineStreamSchema({ [name]: { ...one, type: 1 } } as never),
    () => defineStreamSchema({ [name]: { ...one, schema: { type: name } } } as never),
  ]) {
    const error = thrownBy(call);
    assert.ok(error.message.length > 0 && error.message.length < 2100, `${error.message.length}`);
    assert.ok(String((error as { option?: string }).option ?? "").length < 2100);
  }
});

test("functions in place of parameters are refused with a clear text", () => {
  for (const call of [producer({ params: { token: () => "x" } }), state({ params: [["token", () => "x"]] })]) {
    const error = thrownBy(call);
    assert.ok(error instanceof NotSupportedError);
    assert.match(error.message, /`token`.*functions/);
  }
});

test("a timeout has to be a number", async () => {
  for (const timeoutMs of [-1, NaN, "5"]) {
    const error = await rejectionOf(stream.append(1, { timeoutMs: timeoutMs as never }));
    assert.equal(error.option, "timeoutMs");
  }
});

test("without a server everything that was looked for is named", async () => {
  const { code, stdout } = await run("no-server", [], {
    DURABLE_STREAMS_URL: "",
    services__streams__http__0: "",
  });
  assert.equal(code, 0);
  assert.match(stdout, /InvalidArgumentError url .*DURABLE_STREAMS_URL.*services__streams__http__0/);
});

test("a stream path, a lifetime, parameters and headers reach the server", async () => {
  const made = await DurableStream.create({
    streamPath: freshPath("options"),
    contentType: "application/json",
    expiresAt: new Date(Date.now() + 60_000),
    headers: new Headers({ "X-Trace": "1" }),
    body: [1, 2],
  });
  assert.deepEqual(await readJson(made.url), [1, 2]);
  const secret = new DurableStream({ url: new URL(`${fresh("secret")}?token=s3cret`), params: { a: "b" } });
  assert.doesNotMatch(secret.url, /token|s3cret/);
});

test("the types know every option of the core's table, and no other", () => {
  const require = createRequire(import.meta.url);
  const { vocabulary, toCamel } = require("../../dist/names.cjs");
  const stateOptions: Record<keyof StateProducerOptions<never>, true> = {
    url: true, streamPath: true, endpoints: true, pathPrefix: true, ttlSeconds: true,
    caPem: true, clientCertPem: true, clientKeyPem: true, tlsServerName: true, proxy: true,
    maxConnections: true,
    expiresAt: true, headers: true, requestTimeoutMs: true, retryInitialDelayMs: true,
    retryMaxDelayMs: true, retryMultiplier: true, retryAfterMaxMs: true, fetch: true, epoch: true,
    autoClaim: true, shared: true, lingerMs: true, maxBatchBytes: true, maxBatchItems: true,
    maxInFlight: true, maxWriteBytes: true, maxBufferBytes: true, maxBufferItems: true,
    outboxDir: true, outboxMaxBytes: true, outboxSync: true, outboxRecovery: true,
    maxBlockMs: true, deliveryTimeoutMs: true, onUncertain: true, signal: true, onError: true,
    onDelivery: true, onState: true,
    schema: true, producerId: true, strict: true, params: true, timestamps: true,
    operations: true, maxTrackedKeys: true, trace: true,
  };
  const streamOptions: Record<keyof DurableStreamOptions, true> = {
    url: true, streamPath: true, endpoints: true, pathPrefix: true, ttlSeconds: true,
    caPem: true, clientCertPem: true, clientKeyPem: true, tlsServerName: true, proxy: true,
    maxConnections: true,
    expiresAt: true, headers: true, requestTimeoutMs: true, retryInitialDelayMs: true,
    retryMaxDelayMs: true, retryMultiplier: true, retryAfterMaxMs: true, fetch: true,
    contentType: true, maxRetries: true, params: true, signal: true, batching: true,
    warnOnHttp: true, closed: true, forkFrom: true, forkOffset: true, forkSubOffset: true,
    maxReadBytes: true, idempotent: true,
  };
  const facade = ["headers", "signal", "onError", "onDelivery", "onState", "fetch", "schema", "params", "batching", "warnOnHttp"];
  for (const [scope, typed] of [["state", stateOptions], ["stream", streamOptions]] as const) {
    const rows = vocabulary().options.filter(({ scopes }: any) => scopes.includes(scope));
    const names = rows.map(({ name }: any) => toCamel(name));
    const ours = Object.keys(typed).filter((name) => !facade.includes(name));
    assert.deepEqual(ours.sort(), names.sort());
  }
});
