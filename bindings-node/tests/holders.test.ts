// Several holders of one state producer: what each is told, validates, and may still do.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn, setTimeout as pause } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { z } from "zod";

import { DeliveryError, createDurableStream, defineStreamSchema } from "durstream";
import type { OnError, StateProducer } from "durstream";
import { fresh, freshPath, isClosed, nowhere, readJson, rejectionOf, thrownBy, urlOf } from "./support.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

const schema = defineStreamSchema({ boxes: { schema: true, type: "box", primaryKey: "id" } });
let streams = 0;

/** A stream on a server that is not there. */
function nobody(): string {
  streams += 1;
  return `${nowhere}-${streams}`;
}

function hold(url: string, options: object = {}): StateProducer<any> {
  return createDurableStream({ url, schema, producerId: "holders", ...options });
}

/** An `onError`, and the ids of what it was told. */
function hearing(): { ids: number[]; onError: OnError } {
  const ids: number[] = [];
  return { ids, onError: (_, { id }) => void ids.push(id) };
}

/** Two holders, and what each is told. */
function two(url: string, options: object = {}) {
  const [one, other] = [hearing(), hearing()];
  const first = hold(url, { onError: one.onError, ...options });
  const second = hold(url, { onError: other.onError, ...options });
  return { first, one: one.ids, second, other: other.ids };
}

async function until(condition: () => boolean): Promise<void> {
  for (let wait = 0; !condition(); wait += 1) {
    assert.ok(wait < 4000, "it does not come to pass");
    await pause(5);
  }
}

const upsert = (producer: StateProducer<any>, id = "a") => producer.upsert("boxes", { id });

test("every holder's onError is told of every write", async () => {
  const { first, one, second, other } = two(nobody());
  upsert(first);
  upsert(second);
  second.stop();
  // It was told before its flush says so.
  assert.ok((await rejectionOf(second.flush())) instanceof DeliveryError);
  assert.deepEqual(other, [1, 2]);
  await until(() => one.length === 2);
  assert.deepEqual(one, [1, 2]);
});

test("an onError that is asynchronous, or throws, takes nothing from another holder", async () => {
  const url = nobody();
  const warned: string[] = [];
  const listen = ({ message }: Error) => void warned.push(message);
  process.on("warning", listen);
  hold(url, { onError: () => assert.fail("thrown by one") });
  hold(url, { onError: async () => (await turn(), assert.fail("rejected by one")) });
  const { ids, onError } = hearing();
  const last = hold(url, { onError });
  upsert(last);
  last.stop();
  await until(() => ids.length === 1 && warned.length === 2);
  assert.match(warned.join(), /thrown by one.*rejected by one/s);
  process.off("warning", listen);
});

test("every holder validates with its own schema", async () => {
  const streamPath = freshPath("holders");
  const collection = (schema: z.ZodType) =>
    defineStreamSchema({ boxes: { schema, type: "box", primaryKey: "id" } });
  const open = (schema: ReturnType<typeof collection>) =>
    createDurableStream({ streamPath, schema, producerId: "holders" });
  const [a, b] = [z.object({ id: z.literal("a") }), z.object({ id: z.literal("b"), n: z.number().default(7) })];
  const [first, second] = [open(collection(a)), open(collection(b))];
  const taken = (producer: typeof first) => ["a", "b"].map((id) => producer.upsert("boxes", { id }).accepted);
  assert.deepEqual(taken(first), [true, false]);
  assert.deepEqual(taken(second), [false, true]);
  await first[Symbol.asyncDispose]();
  assert.deepEqual(taken(second), [false, true]);
  await second.close();
  const values = (await readJson(urlOf(streamPath))).map(({ value }) => value);
  assert.deepEqual(values, [{ id: "a" }, { id: "b", n: 7 }, { id: "b", n: 7 }]);
});

test("an open gets the same object where nothing is its own", async () => {
  const url = nobody();
  const [onError, signal] = [(): void => undefined, new AbortController().signal];
  const plain = hold(url);
  assert.equal(hold(url), plain);
  const own = hold(url, { onError });
  const aborting = hold(url, { signal });
  const other = createDurableStream({
    url, producerId: "holders",
    schema: defineStreamSchema({ boxes: { schema: true, type: "box", primaryKey: "id" } }),
  });
  assert.equal(new Set<unknown>([plain, own, aborting, other]).size, 4);
  assert.equal(hold(url, { onError }), own);
  assert.equal(hold(url, { signal }), aborting);
  // It takes two to let go of what two have opened.
  await plain[Symbol.asyncDispose]();
  assert.ok(upsert(plain).accepted);
  other.stop();
  await rejectionOf(plain.flush());
  assert.equal(upsert(plain).refusal?.reason, "producer-stopped");
  assert.notEqual(hold(url), plain);
});

test("a holder that was let go is told of what came before, and of nothing later", async () => {
  const url = nobody();
  const { first, one, second, other } = two(url);
  upsert(first);
  upsert(second);
  const disposed = rejectionOf(first[Symbol.asyncDispose]());
  upsert(second);
  second.stop();
  assert.ok((await disposed) instanceof DeliveryError);
  assert.deepEqual(one, [1, 2]);
  await until(() => other.length === 3);
  assert.deepEqual([one, other], [[1, 2], [1, 2, 3]]);
  // In peace: the end of the scope waits for nothing that was not written before.
  const { first: third, one: three, second: fourth, other: four } = two(url);
  await third[Symbol.asyncDispose]();
  await third[Symbol.asyncDispose]();
  upsert(fourth);
  fourth.stop();
  await until(() => four.length === 1);
  assert.deepEqual([three, four], [[], [1]]);
});

test("a holder that was let go writes nothing, and ends nothing of the others'", async () => {
  const url = fresh("holders");
  const abort = new AbortController();
  const first = hold(url, { signal: abort.signal });
  const second = hold(url);
  const before = upsert(first);
  await first[Symbol.asyncDispose]();
  assert.equal(upsert(first).refusal?.reason, "producer-stopping");
  assert.equal(first.delete("boxes", "a").refusal?.error?.name, "ProducerClosedError");
  abort.abort();
  first.stop();
  assert.equal((await first.close()).delivered, 0);
  assert.equal((await rejectionOf(first.close({ endStream: true }))).name, "ProducerClosedError");
  assert.equal((await before.completion).status, "delivered");
  assert.equal(second.state, "ready");
  assert.equal(second.stats().refused, 2);
  assert.ok(upsert(second).accepted);
  await second[Symbol.asyncDispose](); // it fails of nothing that was refused there
  await until(() => second.state === "stopped");
  assert.equal(await isClosed(url), false);
});

test("strict throws for a holder that was let go", async () => {
  const url = fresh("strict");
  const { first, second } = two(url, { strict: true });
  await first[Symbol.asyncDispose]();
  assert.equal(thrownBy(() => upsert(first)).name, "ProducerClosedError");
  assert.ok(upsert(second).accepted);
  await second.close();
});

test("close by one is told to all", async () => {
  const { first, one, second, other } = two(nobody());
  upsert(first);
  upsert(second);
  assert.equal((await rejectionOf(first.close({ timeoutMs: 1 }))).name, "TimeoutError");
  assert.equal(upsert(second).accepted, false);
  second.stop();
  await until(() => one.length === 2 && other.length === 2);
});

test("an aborted signal of one is told to all", async () => {
  const abort = new AbortController();
  const { first, one, second, other } = two(nobody(), { deliveryTimeoutMs: 1000 });
  const third = hold(first.url, { deliveryTimeoutMs: 1000, signal: abort.signal });
  upsert(first);
  abort.abort();
  assert.equal(upsert(second).accepted, false);
  await rejectionOf(third.flush());
  await until(() => one.length === 1 && other.length === 1);
});

test("a holder that was collected is told of nothing later; its receipts hold nothing open", async () => {
  const url = nobody();
  const { ids: one, onError } = hearing();
  let gone = 0;
  const registry = new FinalizationRegistry(() => (gone += 1));
  const open = () => {
    const handle = hold(url, { onError });
    registry.register(handle, undefined);
    return upsert(handle);
  };
  const receipt = open();
  const { ids: other, onError: another } = hearing();
  const second = hold(url, { onError: another });
  await until(() => (collect(), gone === 1));
  await turn();
  upsert(second);
  second.stop();
  await until(() => other.length === 2);
  assert.deepEqual([one, other], [[1], [1, 2]]);
  assert.equal((await receipt.completion).reason, "producer-stopped");

  // The last one lets the producer go, whatever receipts are left.
  const kept = open();
  await until(() => (collect(), gone === 2));
  const next = hold(url, { lingerMs: 5, onError }); // other options: a producer of its own
  assert.ok(kept.accepted);
  next.stop();
});
