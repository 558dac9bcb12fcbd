// Waiting for room, the bound over all producers, and the way back of one that was fenced.

import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { test } from "node:test";
import type { TestContext } from "node:test";

import {
  BufferFullError,
  DeliveryError,
  DurableStream,
  IdempotentProducer,
  ProducerClosedError,
  StaleEpochError,
  TimeoutError,
  createDurableStream,
  defineStreamSchema,
  setBufferBudget,
} from "durstream";
import { acknowledgement, fresh, nowhere, readJson, rejectionOf, serve, thrownBy } from "./support.ts";

const contentType = "application/json";
const schema = defineStreamSchema({ a: { schema: true, type: "a", primaryKey: "id" } });

/** A server that answers nothing before it is told to. */
async function hold(t: TestContext) {
  const held: (() => ServerResponse)[] = [];
  let open = false;
  const url = await serve(t, (request, response) => {
    request.resume().on("end", () => {
      const status = request.method === "PUT" ? 201 : 200;
      const answer = () => response.writeHead(status, acknowledgement(request)).end();
      if (open) answer();
      else held.push(answer);
    });
  });
  const release = () => {
    open = true;
    held.splice(0).forEach((answer) => answer());
  };
  return { url, release };
}

test("ready waits for room after a full buffer", async (t) => {
  const { url, release } = await hold(t);
  const handle = new DurableStream({ url, contentType });
  const producer = new IdempotentProducer(handle, "full", { maxBufferItems: 2 });
  await producer.ready();
  producer.appendMany([1, 2]);
  assert.ok(thrownBy(() => producer.append(3)) instanceof BufferFullError);

  assert.ok((await rejectionOf(producer.ready({ timeoutMs: 50 }))) instanceof TimeoutError);
  const reason = new Error("enough");
  const aborted = producer.ready({ signal: AbortSignal.abort(reason) });
  assert.equal(await rejectionOf(aborted), reason);

  const ready = producer.ready();
  release();
  assert.equal(await ready, undefined);
  assert.ok(producer.append(3).accepted);
  // The one that was turned away is reported, once.
  const error = await rejectionOf(producer.flush());
  assert.deepEqual([error.delivered, error.undelivered], [3, 1]);
});

test("who waits for room of a producer that ends hears of it", async () => {
  const handle = new DurableStream({ url: nowhere, contentType });
  const producer = new IdempotentProducer(handle, "ends", { maxBufferItems: 1, onError: () => undefined });
  producer.append(1);
  const ready = rejectionOf(producer.ready());
  producer.stop();
  assert.ok((await ready) instanceof ProducerClosedError);
  assert.ok((await rejectionOf(producer.ready())) instanceof ProducerClosedError);
  assert.ok((await rejectionOf(producer.restart())) instanceof ProducerClosedError);
});

test("a state producer is ready when its stream is there", async (t) => {
  const { url, release } = await hold(t);
  const producer = createDurableStream({ url, schema, producerId: "state" });
  assert.ok((await rejectionOf(producer.ready({ timeoutMs: 50 }))) instanceof TimeoutError);
  const ready = producer.ready();
  release();
  await ready;
  assert.equal(producer.state, "ready");
  await producer.close();
  assert.ok((await rejectionOf(producer.ready())) instanceof ProducerClosedError);
});

test("restart is the way back after another producer took over", async () => {
  const url = fresh("fenced");
  const handle = await DurableStream.create({ url, contentType });
  const old = new IdempotentProducer(handle, "same", { onError: () => undefined });
  old.append("1");
  await old.flush();
  const other = new IdempotentProducer(handle, "same", { onError: () => undefined });
  other.append("2");
  await other.flush();
  old.append("3");
  const error = await rejectionOf(old.flush());
  assert.ok(error instanceof DeliveryError && error.cause instanceof StaleEpochError);
  assert.equal(old.state, "fenced");
  assert.ok(thrownBy(() => old.append("4")) instanceof StaleEpochError);
  await rejectionOf(old.flush());

  assert.equal(await old.restart(), undefined);
  old.append("5");
  assert.deepEqual(await old.flush(), { delivered: 1, duplicates: 0, uncertain: 0, refused: 0 });
  other.append("6");
  await rejectionOf(other.flush());
  assert.equal(other.state, "fenced");
  assert.deepEqual(await readJson(url), [1, 2, 5]);
});

test("a fenced state producer comes back, unless it was replaced", async () => {
  const url = fresh("fenced-state");
  const schema = defineStreamSchema({ things: { schema: true, type: "thing", primaryKey: "id" } });
  const open = () => createDurableStream({ url, schema, producerId: "same", onError: () => undefined });
  const old = open();
  const takeOver = async () => {
    await old.upsert("things", { id: "a" }).completion;
    const other = new IdempotentProducer(new DurableStream({ url, contentType }), "same");
    other.append({ headers: { control: "reset" } });
    await other.detach();
    assert.equal((await old.upsert("things", { id: "late" }).completion).reason, "fenced");
    await rejectionOf(old.flush());
  };
  await takeOver();
  assert.equal(await old.restart(), undefined);
  assert.equal((await old.upsert("things", { id: "b" }).completion).status, "delivered");
  await takeOver();
  const next = open();
  const error = await rejectionOf(old.restart());
  assert.ok(error instanceof ProducerClosedError);
  assert.match(error.message, /another one of its stream was opened since/);
  await next.close();
  const events = (await readJson(url)) as { key?: string }[];
  assert.deepEqual(events.flatMap(({ key }) => key ?? []), ["a", "b", "a"]);
});

test("restart begins a session after what was accepted", async () => {
  const url = fresh("restart");
  const handle = await DurableStream.create({ url, contentType });
  const producer = new IdempotentProducer(handle, "again");
  producer.appendMany([1, 2]);
  await producer.flush();
  const { epoch } = producer;
  await producer.restart();
  producer.append(3);
  await producer.flush();
  assert.ok(producer.epoch > epoch);
  assert.equal(producer.stats().sessions, 2);
  assert.deepEqual(await readJson(url), [1, 2, 3]);
});

test("the budget bounds all producers together, each keeps room of its own", async () => {
  const handle = new DurableStream({ url: nowhere, contentType });
  const options = { maxBatchBytes: 100, onError: () => undefined };
  const [greedy, modest] = ["greedy", "modest"].map(
    (id) => new IdempotentProducer(handle, id, options),
  ) as [IdempotentProducer, IdempotentProducer];
  const fill = (producer: IdempotentProducer): number => {
    let taken = 0;
    while (taken < 10_000 && producer.tryAppend("1234").accepted) taken += 1;
    return taken;
  };
  setBufferBudget(1000);
  try {
    const [much, little] = [fill(greedy), fill(modest)];
    assert.ok(much < 10_000, `${much}`);
    assert.ok(little >= 1 && little < much, `${little} of ${much}`);
    assert.equal(modest.tryAppend("1234").refusal?.reason, "buffer-bytes-exceeded");
    const ready = modest.ready();
    greedy.stop();
    await ready;
    assert.ok(fill(modest) >= 1); // more as what is given up is told
  } finally {
    setBufferBudget(512 * 2 ** 20);
    greedy.stop();
    modest.stop();
  }
});
