// Transactions and groups: whole in the stream, or not at all.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  DurableStream,
  IdempotentProducer,
  InvalidArgumentError,
  TooLargeError,
  ValidationError,
  createDurableStream,
  defineStreamSchema,
} from "durstream";
import type { Transaction } from "durstream";
import { z } from "zod";
import { freshPath, readJson, urlOf } from "./support.ts";

const json = { properties: { n: { type: "integer" } } } as const;
const schema = defineStreamSchema({
  shipments: { schema: json, type: "shipment", primaryKey: "id" },
  orders: {
    schema: z.looseObject({ id: z.string().optional(), n: z.number().optional() }),
    type: "order",
    primaryKey: "id",
  },
});

function open(options: object = {}) {
  const streamPath = freshPath("transactions");
  const given = { streamPath, schema, producerId: "tester", maxBatchItems: 5, ...options };
  return { producer: createDurableStream(given), url: urlOf(streamPath) };
}

async function found(url: string): Promise<unknown[]> {
  const events = (await readJson(url)) as { key: string; headers: { txid?: string } }[];
  return events.map(({ key, headers }) => [key, headers.txid]);
}

test("a transaction is one piece with one id", async () => {
  const { producer, url } = open();
  const { txid, receipt, value } = producer.transaction("tx-1", (changes) => {
    changes.insert("shipments", { id: "a" });
    producer.upsert("shipments", { id: "between" });
    changes.update("orders", { id: "b" }, { oldValue: { id: "b" } });
    changes.delete("orders", { id: "c" });
    return changes.txid;
  });
  assert.deepEqual([txid, value, receipt?.id], ["tx-1", "tx-1", 4]);
  assert.equal((await receipt?.completion)?.status, "delivered");
  const expected = [["between", undefined], ["a", "tx-1"], ["b", "tx-1"], ["c", "tx-1"]];
  assert.deepEqual(await found(url), expected);
  await producer.close();
});

test("what throws, is empty or waits sends nothing", async () => {
  const { producer, url } = open();
  const oops = new Error("oops");
  let kept: Transaction | undefined;
  assert.throws(
    () =>
      producer.transaction((changes) => {
        kept = changes as unknown as Transaction;
        changes.upsert("orders", { id: "a" });
        throw oops;
      }),
    oops,
  );
  assert.throws(() => kept?.upsert("orders", { id: "a" }), InvalidArgumentError);
  const empty = producer.transaction(() => undefined);
  assert.equal(empty.receipt, undefined);
  assert.match(empty.txid, /^[\da-f]{8}-[\da-f]{4}-7/);
  const waits = () => producer.transaction(async (changes) => changes.upsert("orders", { id: "a" }));
  assert.throws(waits, { name: "InvalidArgumentError", option: "transaction" });
  assert.throws(
    () => producer.transaction(() => producer.transaction(() => undefined)),
    /is open on this thread/,
  );
  for (const wrong of ["", 5] as string[]) {
    assert.throws(() => producer.transaction(wrong, () => undefined), InvalidArgumentError);
  }
  assert.throws(() => producer.transaction(5 as unknown as () => void), InvalidArgumentError);
  assert.equal(producer.stats().accepted, 0);
  producer.upsert("orders", { id: "b" });
  await producer.flush();
  assert.deepEqual(await found(url), [["b", undefined]]);
  await producer.close();
});

test("a receipt says of everything that was refused", async () => {
  const { producer } = open();
  const { receipt } = producer.transaction((changes) => {
    changes.upsert("shipments", { id: "a" });
    changes.upsert("shipments", { id: "b", n: "x" });
    changes.upsert("orders", { id: "c", n: "x" } as object as { id: string });
    changes.upsert("orders", {});
    changes.upsert("nothing" as "orders", { id: "d" });
    changes.upsert("orders", { id: "e" }, { txid: "another" });
    changes.upsert("shipments", { id: "f", n: 5n });
    changes.delete("orders", [] as unknown as string);
  });
  assert.equal(receipt?.refusal?.reason, "invalid-value");
  const error = receipt?.refusal?.error;
  assert.ok(error instanceof ValidationError);
  const expected = ["shipments `b`: ", "orders `c`: ", "`id` is missing", "nothing", "`txid`", "f", "the key"];
  assert.equal(error.issues.length, expected.length);
  error.issues.forEach(({ message }, n) => assert.ok(message.includes(expected[n] ?? "?"), message));
  const large = producer.transaction((changes) => {
    for (let n = 0; n < 6; n++) changes.upsert("orders", { id: String(n) });
  });
  assert.ok(large.receipt?.refusal?.error instanceof TooLargeError);
  assert.equal(producer.stats().accepted, 0);
  producer.stop();
});

test("a group of messages is one piece", async () => {
  const url = urlOf(freshPath("group"));
  const stream = await DurableStream.create({ url, contentType: "application/json" });
  const producer = new IdempotentProducer(stream, "p", { maxBatchItems: 4 });
  assert.equal(producer.appendGroup([{ n: 1 }, "[2]", new TextEncoder().encode("3")])?.id, 3);
  assert.equal(producer.appendGroup(new Set()), undefined);
  assert.throws(() => producer.appendGroup(["4", "no"]), ValidationError);
  assert.throws(() => producer.appendGroup(["4", 5n as unknown as string]), /JSON cannot say a bigint/);
  assert.throws(() => producer.appendGroup([1, 2, 3, 4, 5]), TooLargeError);
  assert.throws(() => producer.appendGroup(5 as unknown as string[]), InvalidArgumentError);
  assert.equal(producer.stats().accepted, 3);
  await assert.rejects(producer.flush());
  assert.deepEqual(await readJson(url), [{ n: 1 }, [2], 3]);
  await producer.detach();
});
