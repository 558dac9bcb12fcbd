// Secrets are in nothing that a program prints, logs or throws.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect as shown } from "node:util";

import { createDurableStream, defineStreamSchema, DurableStream, IdempotentProducer, inspect } from "durstream";

import { fresh, nowhere } from "./support.js";

/** What every secret of a test has in its text (tests/src/secrets.rs). */
const MARK = "s3cret";
const PROXY = `http://user:${MARK}-proxy@127.0.0.1:1`;
const schema = defineStreamSchema({ c: { schema: { type: "object" }, type: "c", primaryKey: "id" } });

/** A secret wherever there may be one. */
function options(place: string) {
  return {
    url: `${place.replace("://", `://user:${MARK}-password@`)}?token=${MARK}-query`,
    params: { api_key: `${MARK}-parameter` },
    headers: { "x-api-key": `${MARK}-header`, authorization: () => `${MARK}-function` },
  };
}

/** A value as it is printed, logged and kept. */
function allOf(value: unknown): string {
  const kept = value instanceof Error ? [value.message, value.stack, shown(value.cause)] : [];
  const json = JSON.stringify(value, (_, part) => (typeof part === "bigint" ? String(part) : part));
  return [String(value), shown(value, { depth: 9, showHidden: true }), json, ...kept].join("\n");
}

/** What a call throws or returns. */
async function outcomeOf(call: () => unknown): Promise<string> {
  try {
    return allOf(await call());
  } catch (error) {
    return allOf(error);
  }
}

/** Without the secrets: this is a suite's output. */
function check(said: string[]): void {
  const leaks = said.filter((text) => text.toLowerCase().includes(MARK));
  assert.deepEqual(leaks.map((text) => text.replaceAll(MARK, "S...")), []);
}

for (const [name, where] of [
  ["a server", options(fresh("secrets"))],
  ["nobody", options(nowhere)],
  ["a proxy", { ...options(nowhere), proxy: PROXY }],
] as const) {
  test(`no secret is shown with ${name}`, async () => {
    const few = { ...where, contentType: "text/plain", maxRetries: 0, idempotent: false };
    const said = [await outcomeOf(() => DurableStream.create(few))];
    const stream = new DurableStream(few);
    said.push(allOf(stream), stream.url);
    const calls = [() => stream.head(), () => stream.append("x"), () => stream.read().nextChunk()];
    for (const call of calls as (() => unknown)[]) said.push(await outcomeOf(call));
    const heard: unknown[] = [];
    const onError = (failure: unknown): number => heard.push(failure);
    const producer = new IdempotentProducer(stream, "p", { deliveryTimeoutMs: 100, onError } as never);
    said.push(allOf(producer.append("x")), await outcomeOf(() => producer.flush()));
    said.push(allOf(producer), allOf(producer.stats), ...heard.map(allOf));
    producer.stop();
    const state = { ...where, schema, producerId: "state", deliveryTimeoutMs: 100 };
    said.push(allOf(inspect(state)));
    const entities = createDurableStream(state);
    said.push(allOf(entities), allOf(entities.upsert("c", { id: "1" })));
    said.push(await outcomeOf(() => entities.flush()), allOf(entities.stats));
    entities.stop();
    assert.ok(said.length > 12);
    check(said);
  });
}

test("what cannot be used is not shown", async () => {
  const good = { url: nowhere, contentType: "text/plain" };
  const key = `-----BEGIN PRIVATE KEY-----\n${MARK}\n`;
  for (const wrong of [
    { url: `http://user:${MARK}@h:port/` },
    { url: `${MARK}://h/` },
    { headers: { x: `${MARK}\n` } },
    { headers: { x: [MARK] } },
    { headers: [MARK] },
    { params: { x: [MARK] } },
    { params: MARK },
    { proxy: `socks5://user:${MARK}@p` },
    { proxy: [MARK] },
    { clientKeyPem: key },
    { caPem: [MARK] },
    { caPem: key },
  ]) {
    const text = await outcomeOf(() => DurableStream.create({ ...good, ...wrong, maxRetries: 0 } as never));
    assert.match(text, /Error/);
    check([text.replace(/^ +at .*$/gm, "")]);
  }
});
