// The outbox: what was accepted survives the process, whatever ended it.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

import {
  BufferFullError,
  DeliveryError,
  DurableStream,
  IdempotentProducer,
  InvalidArgumentError,
  OutboxDamagedError,
  OutboxFailedError,
  OutboxInUseError,
  ProducerClosedError,
  createDurableStream,
  defineStreamSchema,
} from "durstream";
import type { Failure } from "durstream";
import { fresh, nowhere, readJson, rejectionOf, thrownBy } from "./support.ts";

const ALL = 200;
const numbers = Array.from({ length: ALL }, (_, n) => n);
/** A proxy that is not there: the server is away. */
const away = { proxy: "http://127.0.0.1:9" };

/** A folder that goes with the test. */
function folder(t: TestContext): string {
  const made = mkdtempSync(join(tmpdir(), "durstream-outbox-"));
  t.after(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

async function created(name: string): Promise<string> {
  const url = fresh(name);
  await DurableStream.create({ url, contentType: "application/json" });
  return url;
}

/** A process that accepted writes and waits for its end. */
async function writer(url: string, outboxDir: string, count: number, kind: string): Promise<ChildProcess> {
  const program = fileURLToPath(new URL("programs/outbox.js", import.meta.url));
  const child = spawn(process.execPath, [program, url, outboxDir, String(count), kind], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const { value } = await createInterface(child.stdout)[Symbol.asyncIterator]().next();
  assert.equal(value, "accepted");
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
}

function messages(url: string, outboxDir: string, more: object = {}, where: object = {}): IdempotentProducer {
  const stream = new DurableStream({ url, contentType: "application/json", ...where });
  return new IdempotentProducer(stream, "kept", { outboxDir, ...more });
}

const schema = defineStreamSchema({ a: { schema: true, type: "a", primaryKey: "n" } });

function entities(url: string, outboxDir: string, more: object = {}) {
  return createDurableStream({ url, schema, producerId: "kept", outboxDir, ...more });
}

test("what a killed process accepted is delivered, once and in order", async (t) => {
  const url = await created("outbox");
  const outboxDir = join(folder(t), "in", "there");
  await kill(await writer(url, outboxDir, ALL, "messages"));
  const producer = messages(url, outboxDir);
  const { recovered, recoveredBytes } = producer.stats();
  assert.equal(recovered, ALL);
  assert.equal(recoveredBytes, numbers.map((n) => JSON.stringify({ n }).length).reduce((a, b) => a + b));
  await producer.flush();
  const { accepted, delivered, kept } = producer.stats();
  assert.deepEqual({ accepted, delivered, kept }, { accepted: ALL, delivered: ALL, kept: 0 });
  await producer.detach();
  assert.deepEqual((await readJson(url)).map(({ n }) => n), numbers);
});

test("what a killed process changed is delivered, once and in order", async (t) => {
  const url = fresh("outbox-state");
  const outboxDir = folder(t);
  await kill(await writer(url, outboxDir, ALL, "entities"));
  const producer = entities(url, outboxDir);
  assert.equal(producer.stats().recovered, ALL);
  await producer.flush();
  await producer.close();
  assert.deepEqual((await readJson(url)).map(({ value }) => value.n), numbers);
});

test("another process is told who has it", async (t) => {
  const url = await created("outbox-two");
  const outboxDir = folder(t);
  const first = await writer(url, outboxDir, 3, "messages");
  const error = thrownBy(() => messages(url, outboxDir, {}, away));
  assert.ok(error instanceof OutboxInUseError, String(error));
  assert.equal(error.code, "OUTBOX_IN_USE");
  assert.match(error.message, new RegExp(`\\b${first.pid}\\b`));
  await kill(first);
  const third = messages(url, outboxDir, {}, away);
  assert.equal(third.stats().recovered, 3);
  assert.ok(thrownBy(() => messages(url, outboxDir, {}, away)) instanceof OutboxInUseError);
  assert.equal(await third.discardOutbox(), 3);
});

test("stop keeps what is pending, and says so", async (t) => {
  const [url, outboxDir] = [fresh("outbox-stop"), folder(t)];
  const told: Failure[] = [];
  const onError = (_: unknown, failure: Failure) => told.push(failure);
  const producer = entities(url, outboxDir, { onError, ...away });
  const receipts = [1, 2, 3].map((n) => producer.upsert("a", { n }));
  producer.stop();
  const outcomes = await Promise.all(receipts.map(({ completion }) => completion));
  for (const { status, reason, error } of outcomes) {
    assert.deepEqual({ status, reason }, { status: "kept", reason: "producer-stopped" });
    assert.match(String(error), /outbox/);
  }
  const error = await rejectionOf(producer.flush());
  assert.ok(error instanceof DeliveryError, String(error));
  const { delivered, undelivered, kept } = error;
  assert.deepEqual({ delivered, undelivered, kept }, { delivered: 0, undelivered: 3, kept: 3 });
  const stats = producer.stats();
  assert.deepEqual([stats.kept, stats.cancelled, stats.pending], [3, 0, 0]);
  assert.deepEqual(told.map(({ outcome }) => outcome.status), ["kept", "kept", "kept"]);
  const again = entities(url, outboxDir, away);
  assert.equal(again.stats().recovered, 3);
  assert.equal(await again.discardOutbox(), 3);
});

test("what is discarded is counted and gone", async (t) => {
  const [url, outboxDir] = [await created("outbox-discard"), folder(t)];
  await kill(await writer(url, outboxDir, 5, "messages"));
  const first = messages(url, outboxDir, {}, away);
  const receipt = first.append({ n: 5 });
  assert.equal(await first.discardOutbox(), 6);
  assert.equal((await receipt.completion).status, "cancelled");
  assert.ok((await rejectionOf(first.discardOutbox())) instanceof ProducerClosedError);
  const second = messages(url, outboxDir);
  assert.equal(second.stats().recovered, 0);
  second.append({ n: "new" });
  await second.detach();
  assert.deepEqual(await readJson(url), [{ n: "new" }]);
});

test("without an outbox there is nothing to discard, and the producer goes on", async () => {
  const producer = new IdempotentProducer(new DurableStream({ url: nowhere, contentType: "text/plain" }), "a");
  const error = await rejectionOf(producer.discardOutbox());
  assert.ok(error instanceof InvalidArgumentError, String(error));
  assert.equal(error.option, "outboxDir");
  assert.match(error.message, /`outboxDir`/);
  assert.equal(producer.append("x").accepted, true);
  const wrong = await rejectionOf(producer.discardOutbox(null as never));
  assert.ok(wrong instanceof InvalidArgumentError && wrong.option === "options");
  producer.stop();
});

test("a folder that cannot be one is said", (t) => {
  const taken = join(folder(t), "file");
  writeFileSync(taken, "mine");
  const error = thrownBy(() => messages(nowhere, taken));
  assert.ok(error instanceof OutboxFailedError, String(error));
  assert.ok(error.message.includes(taken), error.message);
  assert.equal(readFileSync(taken, "utf8"), "mine");
});

test("damage is found, and what is readable salvaged", async (t) => {
  const [url, outboxDir] = [await created("outbox-damaged"), folder(t)];
  await kill(await writer(url, outboxDir, ALL, "messages"));
  const files = readdirSync(outboxDir, { recursive: true, encoding: "utf8" });
  const segment = join(outboxDir, files.find((file) => file.endsWith(".seg")) as string);
  const bytes = readFileSync(segment);
  const at = bytes.indexOf('{"n":100}');
  bytes.write("9", at + 6);
  writeFileSync(segment, bytes);
  const error = thrownBy(() => messages(url, outboxDir, {}, away));
  assert.ok(error instanceof OutboxDamagedError, String(error));
  assert.ok(error.message.includes(basename(segment)), error.message);
  assert.match(error.message, /`outboxRecovery`.*salvage|salvage/);
  assert.deepEqual(readFileSync(segment), bytes);
  const salvaged = messages(url, outboxDir, { outboxRecovery: "salvage" });
  await salvaged.flush();
  await salvaged.detach();
  assert.deepEqual((await readJson(url)).map(({ n }) => n), numbers.filter((n) => n !== 100));
});

/** Runs the tool that looks into outboxes. */
function tool(...words: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const program = fileURLToPath(new URL("../../bin/outbox.mjs", import.meta.url));
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...words], { maxBuffer: 2 ** 24 }, (error, stdout, stderr) => {
      resolve({ code: Number(error?.code ?? 0), stdout, stderr });
    });
  });
}

test("the tool looks into an outbox while its producer is at work", async (t) => {
  const outboxDir = folder(t);
  const producer = messages(nowhere, outboxDir, { maxBufferItems: 10_000 });
  const text = "\u2192".repeat(50);
  for (let n = 0; n < 5000; n++) producer.append({ n, text });
  const listed = await tool("list", outboxDir);
  assert.deepEqual([listed.code, listed.stderr], [0, ""]);
  assert.match(listed.stdout, /waiting +5000 writes/);
  assert.match(listed.stdout, new RegExp(`process ${process.pid} on`));
  const shown = JSON.parse((await tool("show", outboxDir, "--json")).stdout) as Record<string, unknown>;
  assert.deepEqual([shown.producer_id, shown.writes], ["kept", 5000]);
  const exported = (await tool("export", outboxDir)).stdout.trimEnd().split("\n");
  assert.deepEqual(exported.map((line) => JSON.parse(line) as unknown), Array.from({ length: 5000 }, (_, n) => ({ n, text })));
  assert.equal(await producer.discardOutbox(), 5000);
});

test("the tool says what is wrong", async () => {
  for (const [words, said] of [
    [[], "durstream-outbox list DIR"],
    [["look", "."], "there is no command look"],
    [["list", "/nowhere"], "/nowhere"],
  ] as const) {
    const { code, stdout, stderr } = await tool(...words);
    assert.deepEqual([code, stdout], [1, ""]);
    assert.ok(stderr.includes(said), stderr);
  }
  const helped = await tool("--help");
  assert.equal(helped.code, 0);
  assert.ok(helped.stdout.includes("durstream-outbox export DIR"), helped.stdout);
});

test("a full outbox says so", async (t) => {
  const producer = messages(nowhere, folder(t), { outboxMaxBytes: 4096 });
  const error = thrownBy(() => {
    for (let n = 0; n < 1000; n++) producer.append({ n });
  });
  assert.ok(error instanceof BufferFullError, String(error));
  assert.equal(error.reason, "outbox-full");
  assert.ok((await producer.discardOutbox()) > 0);
});

test("with `outboxSync` as `write` each write is there once", async (t) => {
  const [url, outboxDir] = [await created("outbox-write"), folder(t)];
  const producer = messages(url, outboxDir, { outboxSync: "write" });
  for (const n of numbers.slice(0, 50)) producer.append({ n });
  await producer.detach();
  assert.deepEqual((await readJson(url)).map(({ n }) => n), numbers.slice(0, 50));
});
