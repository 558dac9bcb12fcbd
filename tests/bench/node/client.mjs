// Our Node client, or the official one: they take the same calls.

import { readFileSync, readSync } from "node:fs";
import { createRequire } from "node:module";
import { performance } from "node:perf_hooks";
import { setImmediate as turn, setTimeout as later } from "node:timers/promises";

/** The calls whose cost is measured: few enough that the buffer does not fill. */
const SAMPLED_CALLS = 100_000;
/** Requests go out, and answers come in, only while the event loop turns. */
const CALLS_PER_TURN = 1000;

const job = Object.fromEntries(process.argv.slice(2).map((word) => word.split(/=(.*)/s, 2)));
const count = Number(job.events);
const contentType = job.kind === "bytes" ? "application/octet-stream" : "application/json";
const official = job.client === "official";
const messages = readMessages();

const { DurableStream, IdempotentProducer, setBufferBudget } = official
  ? createRequire(new URL("../../comparison/", import.meta.url))("@durable-streams/client")
  : await import("../../../bindings-node/dist/index.mjs");

const requests = { sent: 0, repeats: 0, seen: new Set() };
const options = { autoClaim: true };
if (official) options.fetch = counting;
let failure;
options.onError = (error) => (failure ??= error);
if (!official && job.max_buffer_bytes) {
  setBufferBudget(2 ** 40);
  options.maxBufferBytes = Number(job.max_buffer_bytes);
}

// Several streams are there already.
const at = { url: job.url, contentType };
const handle = job.mode === "streams" ? undefined : await DurableStream.create(at);
const producer = handle && new IdempotentProducer(handle, "bench", options);
// The official producer takes text and bytes alone.
const append =
  official && job.kind === "objects"
    ? (value) => producer.append(JSON.stringify(value))
    : (value) => producer.append(value);

const modes = { idle, paced, queue, streams, stream: streamAll };
const report = await modes[job.mode ?? "stream"]();
// An outage is meant to be one.
if (failure && job.mode !== "paced") throw failure;
// All of it is out before the event loop stands still.
await new Promise((written) => process.stdout.write(`${JSON.stringify(report)}\n`, written));
readFileSync(0); // until the result was looked at
// What was queued while the server was away is given up.
if (job.mode === "queue") process.kill(process.pid, "SIGKILL");
await producer?.detach();

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

/**
 * Events at a rate, and when each was begun and done. Up to 1 000 a second each comes by itself, above
 * that what belongs to a millisecond comes at its start. An event begins when it is due, or once the
 * timer has run if nothing kept this program until then: a timer that is late is not the client's.
 */
async function paced() {
  const rate = Number(job.rate);
  const due = (event) =>
    rate <= 1000 ? Math.floor((event * 1e6) / rate) : Math.floor((event * 1000) / rate) * 1000;
  const begun = [];
  const done = new Array(count).fill(null);
  const outcomes = [];
  const epoch = Math.round(Date.now() * 1000);
  const started = performance.now();
  const now = () => Math.round((performance.now() - started) * 1000);
  while (begun.length < count) {
    const pause = due(begun.length) - now();
    // Behind its time too it lets the event loop turn, as a program has to.
    await (pause > 0 ? later(pause / 1000) : turn());
    const [first, woken] = [begun.length, now()];
    while (begun.length < count && due(begun.length) <= woken) {
      begun.push(pause > 0 ? woken : due(begun.length));
    }
    for (let event = first; event < begun.length; event += 1) {
      const receipt = append(messages[event % messages.length]);
      if (official) continue;
      const settle = (outcome) => {
        if (outcome.status === "delivered") done[event] = now();
      };
      outcomes.push(receipt.completion.then(settle));
    }
    if (!official) continue;
    // Only a flush tells when something was taken, and only the callback that it was not.
    failure = undefined;
    await producer.flush();
    const at = now();
    if (!failure) done.fill(at, first, begun.length);
  }
  await Promise.all(outcomes);
  return { epoch_us: epoch, begun_us: begun, done_us: done };
}

async function queue() {
  append(messages[0]);
  await producer.flush();
  console.log("ready");
  // Until the server is gone. The event loop stands still meanwhile.
  readSync(0, Buffer.alloc(1));
  const before = process.memoryUsage().rss;
  for (let n = 0; n < count; n += 1) {
    append(messages[n % messages.length]);
    if (n % CALLS_PER_TURN === 0) await turn();
  }
  return { before_bytes: before, after_bytes: process.memoryUsage().rss };
}

async function streams() {
  const cpu = process.cpuUsage();
  const started = performance.now();
  const producers = [];
  for (let n = 0; n < Number(job.streams); n += 1) {
    const own = { url: `${job.url}-${n}`, contentType };
    producers.push(new IdempotentProducer(new DurableStream(own), "bench", options));
  }
  let calls = 0;
  for (let n = 0; n < Math.floor(count / producers.length); n += 1) {
    for (const producer of producers) {
      producer.append(messages[n % messages.length]);
      calls += 1;
      if (calls % CALLS_PER_TURN === 0) await turn();
    }
  }
  await Promise.all(producers.map((producer) => producer.flush()));
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const sum = (name) => producers.reduce((all, each) => all + each.stats()[name], 0);
  return {
    seconds,
    cpu_seconds: (user + system) / 1e6,
    accept_seconds: 0,
    accept_calls: 0,
    requests: official ? requests.sent : sum("requests"),
    repeats: official ? requests.repeats : sum("retries"),
  };
}

/** Counts what goes out, and what goes out again. */
function counting(url, request) {
  const sequence = request?.headers?.["Producer-Seq"] ?? request?.headers?.["producer-seq"];
  if (sequence !== undefined) {
    const key = `${url} ${sequence}`;
    requests.sent += 1;
    if (requests.seen.has(key)) requests.repeats += 1;
    requests.seen.add(key);
  }
  return fetch(url, request);
}

function readMessages() {
  const lines = readFileSync(job.messages, "utf8").trimEnd().split("\n");
  if (job.kind === "bytes") return lines.map((line) => Buffer.from(line));
  return job.kind === "objects" ? lines.map((line) => JSON.parse(line)) : lines;
}
