// The process around the producers: restarts, exits, workers, module systems.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import * as durstream from "durstream";
import { besideOutage, fresh, freshPath, nowhere, readJson, rejectionOf, run, runUnread, succeed, thrownBy, urlOf, stillPending } from "./support.ts";

const require = createRequire(import.meta.url);
const numbers = (count: number) => Array.from({ length: count }, (_, n) => n + 1);

test("a restart under the same producer id: all writes of both runs are there, once", async () => {
  const url = fresh("restart");
  await succeed("restart", [url, "first", "200"]);
  await succeed("restart", [url, "second", "200"]);
  assert.deepEqual(await readJson(url), [
    ...numbers(200).map((n) => ({ run: "first", n })),
    ...numbers(200).map((n) => ({ run: "second", n })),
  ]);
});

test("a restarted state producer too", async () => {
  const path = freshPath("restart-state");
  await succeed("restart-state", [path, "first", "100"]);
  await succeed("restart-state", [path, "second", "100"]);
  const events = await readJson(urlOf(path));
  assert.deepEqual(events.map(({ key }) => key), [
    ...numbers(100).map((n) => `first-${n}`),
    ...numbers(100).map((n) => `second-${n}`),
  ]);
});

test("an idle producer lets Node end, and nothing unhandled is left", async () => {
  const { code, stdout, stderr } = await run("idle", [fresh("idle")]);
  assert.deepEqual([code, stdout, stderr], [0, "the end is reached\n", ""]);
});

test("what cannot be delivered at exit is given up, and said once", async () => {
  for (const [given, limit] of [[[], 3000], [["0"], 0], [["20"], 20]] as [string[], number][]) {
    const { code, stdout, stderr } = await run("given-up", [nowhere, ...given]);
    assert.equal(code, 0, stderr);
    assert.equal(stdout, "3 are pending\n");
    assert.match(besideOutage(stderr), stillPending(3, limit));
  }
});

const noProc = process.platform === "linux" ? false : "there is no /proc here";

test("a standard error nobody reads holds up no write and no end", { skip: noProc }, async () => {
  for (const ending of ["shutdown", "exit"]) {
    const url = fresh("unread");
    const { code, stdout } = await runUnread("unread", [url, ending]);
    assert.deepEqual([code, stdout], [0, "the end is reached\n"]);
    assert.deepEqual(await readJson(url), [{ n: 0 }, { n: 1 }, { n: 2 }]);
  }
});

test("failures nobody waits for are handed to onError before Node ends", async () => {
  const { code, stdout, stderr } = await run("late-failure", [nowhere]);
  assert.deepEqual([code, besideOutage(stderr)], [0, ""]);
  assert.deepEqual(stdout.trim().split("\n").sort(), ["TransportError 1", "TransportError 2"]);
});

test("rejections nobody looks at are not unhandled: receipts", async () => {
  const { code, stdout, stderr } = await run("unlooked", [nowhere]);
  assert.deepEqual([code, stdout, besideOutage(stderr)], [0, "rejected cancelled\n", ""]);
});

test("shutdown ends everything, bounded; a later open starts afresh", async () => {
  const url = fresh("shutdown");
  const out = await succeed("shutdown", [url, nowhere]);
  assert.deepEqual(out.trim().split("\n"), [
    "first: delivered",
    "closed: ProducerClosedError",
    "nobody: TimeoutError",
    "settled: cancelled producer-stopped",
    "second: delivered",
    "idle: done",
  ]);
  assert.deepEqual(await readJson(url), [1, 2]);
});

test("worker threads write, end and are terminated without harm", async () => {
  const url = fresh("workers");
  const out = await succeed("workers", [url, nowhere]);
  assert.equal(out, "four ended, two terminated\n");
  const events = await readJson(url);
  assert.equal(events.length, 400);
  for (const worker of [0, 1, 2, 3]) {
    const own = events.filter((event) => event.worker === worker).map(({ n }) => n);
    assert.deepEqual(own, numbers(100));
  }
});

test("flushAll waits for every producer", async () => {
  const url = fresh("flush-all");
  const handle = await durstream.DurableStream.create({ url, contentType: "application/json" });
  const producers = ["a", "b", "c"].map((id) => new durstream.IdempotentProducer(handle, id));
  for (const producer of producers) producer.append(1);
  await durstream.flushAll();
  assert.deepEqual(producers.map(({ pendingCount }) => pendingCount), [0, 0, 0]);
  assert.equal(durstream.pendingCount(), 0);
  assert.deepEqual(await readJson(url), [1, 1, 1]);
  assert.equal((await rejectionOf(durstream.flushAll({ timeoutMs: -1 }))).option, "timeoutMs");
});

test("ESM and CommonJS show the same names, the same classes", () => {
  const common = require("durstream");
  const named = Object.keys(durstream).filter((name) => !["default", "module.exports"].includes(name));
  assert.deepEqual(named.sort(), Object.keys(common).sort());
  for (const name of named) assert.equal((durstream as any)[name], common[name]);
});

test("error classes and reasons are those of the core", async () => {
  const { vocabulary } = require("../../dist/names.cjs");
  const { CLASSES } = require("../../dist/errors.cjs");
  const { REASONS } = require("../../dist/receipt.cjs");
  const { errors, reasons } = vocabulary();
  assert.deepEqual(Object.keys(CLASSES), errors);
  assert.deepEqual(REASONS, reasons);
  for (const name of errors) assert.equal((durstream as any)[name], CLASSES[name]);
  const manifest = JSON.parse(await readFile(require.resolve("durstream/package.json"), "utf8"));
  assert.equal(manifest.name, "durstream");
});

test("classes that are made by functions say so", () => {
  for (const make of [
    () => new (durstream.StateProducer as any)(),
    () => new (durstream.StreamSchema as any)(),
  ]) {
    assert.ok(thrownBy(make) instanceof durstream.InvalidArgumentError);
  }
});
