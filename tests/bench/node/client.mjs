// Our Node client, or the official one: they take the same calls.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { performance } from "node:perf_hooks";
import { setImmediate as turn } from "node:timers/promises";

/** The calls whose cost is measured: few enough that the buffer does not fill. */
const SAMPLED_CALLS = 100_000;
/** Requests go out, and answers come in, only while the event loop turns. */
const CALLS_PER_TURN = 1000;

const job = Object.fromEntries(process.argv.slice(2).map((word) => word.split(/=(.*)/s, 2)));
const count = Number(job.events);
const contentType = job.kind === "bytes" ? "application/octet-stream" : "application/json";
const official = job.client === "official";
const messages = readMessages();

const { DurableStream, IdempotentProducer } = official
  ? createRequire(new URL("../../comparison/", import.meta.url))("@durable-streams/client")
  : await import("../../../bindings-node/dist/index.mjs");

const requests = { sent: 0, repeats: 0, seen: new Set() };
const options = { autoClaim: true };
if (official) options.fetch = counting;
let failure;
options.onError = (error) => (failure ??= error);

const handle = await DurableStream.create({ url: job.url, contentType });
const producer = new IdempotentProducer(handle, "bench", options);
// The official producer takes text and bytes alone.
const append =
  official && job.kind === "objects"
    ? (value) => producer.append(JSON.stringify(value))
    : (value) => producer.append(value);

const report = job.mode === "idle" ? await idle() : await streamAll();
if (failure) throw failure;
console.log(JSON.stringify(report));
readFileSync(0); // until the result was looked at
await producer.detach();

async function streamAll() {
  let accepting = 0;
  const cpu = process.cpuUsage();
  const started = performance.now();
  for (let first = 0; first < count; first += CALLS_PER_TURN) {
    const end = Math.min(first + CALLS_PER_TURN, count);
    const turned = performance.now();
    for (let n = first; n < end; n += 1) {
      try {
        append(messages[n % messages.length]);
      } catch (error) {
        if (error.code !== "BUFFER_FULL") throw error;
        await producer.ready();
        n -= 1;
      }
    }
    if (first < SAMPLED_CALLS) accepting += performance.now() - turned;
    await turn();
  }
  await producer.flush();
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const sent = official ? requests : producer.stats();
  return {
    seconds,
    cpu_seconds: (user + system) / 1e6,
    accept_seconds: accepting / 1000,
    accept_calls: Math.min(count, SAMPLED_CALLS),
    requests: official ? sent.sent : sent.requests,
    repeats: official ? sent.repeats : sent.retries,
  };
}

async function idle() {
  const waits = [];
  for (let n = 0; n < count; n += 1) {
    const started = performance.now();
    const receipt = append(messages[n % messages.length]);
    await (official ? producer.flush() : receipt.completion);
    waits.push(Math.round((performance.now() - started) * 1000));
  }
  return { waits_us: waits };
}

/** Counts what goes out, and what goes out again. */
function counting(url, request) {
  const sequence = request?.headers?.["Producer-Seq"] ?? request?.headers?.["producer-seq"];
  if (sequence !== undefined) {
    requests.sent += 1;
    if (requests.seen.has(sequence)) requests.repeats += 1;
    requests.seen.add(sequence);
  }
  return fetch(url, request);
}

function readMessages() {
  const lines = readFileSync(job.messages, "utf8").trimEnd().split("\n");
  if (job.kind === "bytes") return lines.map((line) => Buffer.from(line));
  return job.kind === "objects" ? lines.map((line) => JSON.parse(line)) : lines;
}
