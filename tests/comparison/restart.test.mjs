// A service runs, ends, and runs again under the same producer id. Which writes are in the stream?

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const WRITES_PER_RUN = 20;
const server = process.env.DURABLE_STREAMS_URL;
assert.ok(server, "DURABLE_STREAMS_URL names the server; `cargo xtask with-server` sets it");

test("the official client: the second run's writes are lost although every flush succeeded", async () => {
  const url = freshStream("official");

  await runService("service-official.mjs", url, "first");
  await runService("service-official.mjs", url, "second");

  // The second run starts again at epoch 0, sequence 0. The server has seen those numbers, answers 204
  // "duplicate" and stores nothing; the client takes that for success. autoClaim does not help: it
  // acts on 403 alone.
  assert.deepEqual(await readStream(url), writesOf("first"));
});

test("durstream: the writes of both runs are in the stream, each once and in order", async () => {
  const url = freshStream("durstream");

  await runService("service-durstream.mjs", url, "first");
  await runService("service-durstream.mjs", url, "second");

  assert.deepEqual(await readStream(url), [...writesOf("first"), ...writesOf("second")]);
});

test("the two services differ in their import alone", async () => {
  const [official, durstream] = await Promise.all(
    ["service-official.mjs", "service-durstream.mjs"].map(programLines),
  );
  const differing = official.filter((line, index) => line !== durstream[index]);

  assert.equal(official.length, durstream.length);
  assert.deepEqual(differing, [
    'import { DurableStream, IdempotentProducer } from "@durable-streams/client";',
  ]);
});

function freshStream(name) {
  return `${server}/v1/stream/comparison/${name}-${process.pid}-${Date.now()}`;
}

/** Runs one life of the service to its end. Fails when the service does: a flush that rejects ends it. */
async function runService(file, url, run) {
  const args = [pathOf(file), url, run, String(WRITES_PER_RUN)];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 60_000 });
  assert.equal(stdout.trim(), `${WRITES_PER_RUN} writes flushed`);
}

/** Everything in the stream, read with plain HTTP so that neither client judges itself. */
async function readStream(url) {
  const events = [];
  for (let offset = "-1", upToDate = false; !upToDate; ) {
    const response = await fetch(`${url}?offset=${encodeURIComponent(offset)}`);
    assert.equal(response.status, 200, `GET ${url} answered ${response.status}`);
    events.push(...(await response.json()));
    offset = response.headers.get("stream-next-offset");
    upToDate = response.headers.get("stream-up-to-date") === "true";
  }
  return events;
}

function writesOf(run) {
  return Array.from({ length: WRITES_PER_RUN }, (_, index) => ({ run, number: index + 1 }));
}

/** The lines of a service without its opening comment. */
async function programLines(file) {
  const text = await readFile(pathOf(file), "utf8");
  return text.split("\n").filter((line) => !line.startsWith("//"));
}

function pathOf(file) {
  return fileURLToPath(new URL(file, import.meta.url));
}
