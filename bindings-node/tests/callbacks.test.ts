// `onDelivery` and `onState`: what they are told, and when.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  DurableStream,
  IdempotentProducer,
  InvalidArgumentError,
  TransportError,
  createDurableStream,
  defineStreamSchema,
} from "durstream";
import type { Delivery, IdempotentProducerOptions, StateChange } from "durstream";
import { fresh, nowhere, thrownBy } from "./support.ts";

async function open(name: string, options: IdempotentProducerOptions) {
  const stream = await DurableStream.create({ url: fresh(name), contentType: "application/json" });
  return new IdempotentProducer(stream, "callbacks", options);
}

async function until(holds: () => boolean): Promise<void> {
  for (let n = 0; n < 12_000 && !holds(); n += 1) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(holds(), `waited in vain for ${holds}`);
}

test("each delivered write is told once, a batch at a time", async () => {
  const told: Delivery[] = [];
  const producer = await open("deliveries", { onDelivery: (delivery) => told.push(delivery) });
  for (let n = 0; n < 1000; n += 1) producer.append(n);
  await producer.flush();
  await until(() => told.reduce((sum, { count }) => sum + count, 0) === 1000);
  assert.equal(told.length, producer.stats().batches);
  assert.ok(told.length < 1000);
  let next = 1;
  for (const { firstId, count, outcome } of told) {
    assert.deepEqual([firstId, outcome.status], [next, "delivered"]);
    assert.ok(outcome.offset);
    next += count;
  }
});

test("each change of the state is told in order, and why", async () => {
  const told: StateChange[] = [];
  const items = { schema: true, type: "item", primaryKey: "id" } as const;
  const producer = createDurableStream({
    url: nowhere,
    schema: defineStreamSchema({ items }),
    producerId: "states",
    onState: (change) => told.push(change),
    onError: () => {},
  });
  producer.upsert("items", { id: "1" });
  await until(() => told.length > 0);
  producer.stop();
  await until(() => told.at(-1)?.to === "stopped");
  assert.deepEqual(
    told.map(({ from, to }) => [from, to]),
    [
      ["connecting", "backoff"],
      ["backoff", "stopping"],
      ["stopping", "stopped"],
    ],
  );
  assert.ok(told[0]?.error instanceof TransportError);
  assert.equal(told[1]?.error, undefined);
});

test("a callback that throws is a warning, and takes nothing from the next call", async () => {
  const [told, warnings]: [string[], string[]] = [[], []];
  const warned = (warning: Error) => warnings.push(warning.message);
  process.on("warning", warned);
  const onState = ({ to }: StateChange) => {
    told.push(to);
    throw new Error("mine");
  };
  const producer = await open("throwing", { onState });
  producer.append(1);
  await producer.flush();
  await producer.detach();
  await until(() => told.at(-1) === "stopped" && warnings.length === 3);
  process.off("warning", warned);
  assert.deepEqual(told, ["ready", "stopping", "stopped"]);
  assert.ok(warnings.every((text) => /an onState callback failed: Error: mine/.test(text)), `${warnings}`);
});

test("what is no function is refused", async () => {
  for (const name of ["onDelivery", "onState"]) {
    const stream = await DurableStream.create({ url: fresh("wrong"), contentType: "text/plain" });
    const error = thrownBy(() => new IdempotentProducer(stream, "wrong", { [name]: 1 }));
    assert.ok(error instanceof InvalidArgumentError);
    assert.equal(error.option, name);
  }
});
