// What a pipe brings.

import assert from "node:assert/strict";
import { test } from "node:test";

import { DeliveryError, DurableStream, StreamNotFoundError, setBufferBudget } from "durstream";
import { fresh, hold, isClosed, readJson, readText, rejectionOf } from "./support.ts";

const create = (name: string, contentType = "text/plain") =>
  DurableStream.create({ url: fresh(name), contentType });

test("a pipe's end delivers everything and ends the stream", async () => {
  const handle = await create("pipe");
  const parts = Array.from({ length: 20_000 }, (_, n) => `${n} `);
  const options = { producerId: "pipe", lingerMs: 1, maxBatchBytes: 4096 };
  await ReadableStream.from([...parts, ""]).pipeTo(handle.writable(options));
  assert.equal(await readText(handle.url), parts.join(""));
  assert.ok(await isClosed(handle.url));
});

test("a pipe that breaks off leaves the stream open, and what came through it there", async () => {
  const handle = await create("broken-pipe", "application/json");
  const reason = new Error("mine");
  async function* failing() {
    yield { n: 1 };
    throw reason;
  }
  const pipe = ReadableStream.from(failing()).pipeTo(handle.writable());
  assert.equal(await rejectionOf(pipe), reason);
  assert.deepEqual(await readJson(handle.url), [{ n: 1 }]);
  assert.equal(await isClosed(handle.url), false);
});

test("a pipe that does not deliver says so", async () => {
  const handle = new DurableStream({ url: fresh("missing"), contentType: "text/plain" });
  const told: unknown[] = [];
  const writable = handle.writable({ onError: (error) => told.push(error) });
  const error = await rejectionOf(ReadableStream.from(["a"]).pipeTo(writable));
  assert.ok(error instanceof DeliveryError || error instanceof StreamNotFoundError, String(error));
  assert.ok(told[0] instanceof StreamNotFoundError);
});

test("a pipe waits for room in a small buffer, and does not fail of it", async () => {
  const message = { text: "x".repeat(1000) };
  for (const options of [{ maxBufferBytes: 20_000 }, { maxBufferItems: 3 }]) {
    const handle = await create("small-buffer", "application/json");
    const parts = Array.from({ length: 1000 }, () => message);
    await ReadableStream.from(parts).pipeTo(handle.writable({ ...options, maxBatchBytes: 5000 }));
    assert.equal((await readJson(handle.url)).length, 1000);
  }
});

test("a pipe waits for room where the whole process is full", async (t) => {
  setBufferBudget(0);
  t.after(() => setBufferBudget(2 ** 29));
  const handle = await create("full-process");
  const parts = Array.from({ length: 100 }, (_, n) => String(n % 10).repeat(100_000));
  await ReadableStream.from(parts).pipeTo(handle.writable());
  assert.equal((await readText(handle.url)).length, 10_000_000);
});

test("a pipe of objects is not read ahead either", async (t) => {
  const { url, release, first } = await hold(t);
  let taken = 0;
  async function* source() {
    for (; taken < 20; taken += 1) yield { text: "x".repeat(2 ** 20) };
  }
  const handle = new DurableStream({ url, contentType: "application/json" });
  const piped = ReadableStream.from(source()).pipeTo(handle.writable());
  await first;
  await new Promise((resolve) => setTimeout(resolve, 50)); // it would have gone on
  assert.ok(taken < 8, `${taken} were taken`);
  release();
  await piped;
  assert.equal(taken, 20);
});

test("a pipe is not read ahead", async (t) => {
  const { url, release, first } = await hold(t);
  let taken = 0;
  async function* source() {
    for (; taken < 20; taken += 1) yield "x".repeat(2 ** 20);
  }
  const handle = new DurableStream({ url, contentType: "text/plain" });
  const piped = ReadableStream.from(source()).pipeTo(handle.writable());
  await first;
  await new Promise((resolve) => setTimeout(resolve, 50)); // it would have gone on
  assert.ok(taken < 8, `${taken} were taken`);
  release();
  await piped;
  assert.equal(taken, 20);
});
