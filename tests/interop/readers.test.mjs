// A writer in each language writes the plans of `rule.mjs`. What do those see of it who read with
// somebody else's library?

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { createRequire } from "node:module";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { describe, test } from "node:test";

import { stream } from "@durable-streams/client";
import { MaterializedState, isChangeEvent, isControlEvent } from "@durable-streams/state";
import { createStateSchema, createStreamDB } from "@durable-streams/state/db";
import { Ajv } from "ajv";
import addFormats from "ajv-formats";

import { curl } from "./curl.mjs";
import { eventOf, groupsOf, stateOf, stepsOf } from "./rule.mjs";

const server = setting("DURABLE_STREAMS_URL");
const writers = JSON.parse(setting("DURSTREAM_INTEROP_WRITERS"));
const seed = Number(process.env.DURSTREAM_INTEROP_SEED ?? randomInt(2 ** 32));
const STRICT_EVENTS = Number(process.env.DURSTREAM_INTEROP_STRICT_EVENTS ?? 20_000);
const VERB_EVENTS = 2000;
const TXIDS = 1000;
const GROUPS = 500;
/** What is too long for any machine: nobody is measured by it. */
const AFTER_THE_LAST_WRITE_MS = 10_000;
const WRITER_LIMIT_MS = 300_000;

const require = createRequire(import.meta.url);
const published = path.join(
  path.dirname(require.resolve("@durable-streams/state/package.json")),
  "state-protocol.schema.json",
);
// It says `properties` where it does not say `object`, which ajv would warn of.
const ajv = new Ajv({ strictTypes: false });
addFormats.default(ajv);
const isPublished = ajv.compile(JSON.parse(readFileSync(published, "utf8")));

console.log(`seed ${seed}: DURSTREAM_INTEROP_SEED=${seed} writes the same again`);

for (const [language, command] of writers) {
  describe(language, () => {
    test("every verb and header, as four readers see it", async () => {
      const run = await written(language, command, "verbs", VERB_EVENTS);
      await readByAll(run);
    });

    test("strict events are valid against the published schema", async () => {
      const run = await written(language, command, "strict", STRICT_EVENTS);
      const found = await readByAll(run);
      const invalid = found.filter((event) => !isPublished(event));
      assert.deepEqual(invalid.slice(0, 3), []);
      const changes = found.filter(isChangeEvent);
      assert.ok(changes.every(({ headers }) => headers.timestamp !== undefined));
      console.log(`${language}: ${found.length} strict events, all valid against the schema`);
    });

    test("each transaction's writes are in one piece, in the stream and for a reader that follows", async () => {
      const { pathname, url } = freshStream(language, "groups");
      await createStream(url);
      const expected = Array.from(groupsOf(GROUPS, seed), ({ txid, keys, isRolledBack, single }) => [
        ...(isRolledBack ? [] : keys.map((key) => [key, txid])),
        [single, undefined],
      ]).flat();
      const live = await stream({ url, live: "sse", json: true });
      const pieces = [];
      let seen = 0;
      const all = new Promise((resolve) => {
        live.subscribeJson(({ items }) => {
          if (items.length > 0) pieces.push(items.map(({ key, headers: { txid } }) => [key, txid]));
          seen += items.length;
          if (seen >= expected.length) resolve();
        });
      });
      await runWriter(command, [pathname, "groups", GROUPS, seed]);
      await Promise.race([all, after(AFTER_THE_LAST_WRITE_MS)]);
      live.cancel();
      assert.deepEqual(pieces.flat(), expected);
      assert.deepEqual((await curl(url)).map(({ key, headers: { txid } }) => [key, txid]), expected);
      const ends = pieces.slice(1).map(([[, txid]], index) => [pieces[index].at(-1)[1], txid]);
      assert.ok(ends.every(([before, behind]) => before === undefined || before !== behind));
      console.log(`${language}: ${GROUPS} transactions, read live in ${pieces.length} pieces, none cut`);
    });

    test("awaitTxId is resolved for every transaction", async (context) => {
      const { pathname, url } = freshStream(language, "txids");
      await createStream(url);
      const db = openDb(url);
      context.after(() => db.close());
      await db.preload();
      const delivered = new Map();
      const resolved = new Map();
      const waits = Array.from({ length: TXIDS }, async (_, n) => {
        await db.utils.awaitTxId(`tx-${seed}-${n}`, WRITER_LIMIT_MS + AFTER_THE_LAST_WRITE_MS);
        resolved.set(n, performance.now());
      });
      const all = Promise.allSettled(waits);
      await runWriter(command, [pathname, "txids", TXIDS, seed], (line) => {
        delivered.set(Number(line), performance.now());
      });
      assert.equal(delivered.size, TXIDS);
      await Promise.race([all, after(AFTER_THE_LAST_WRITE_MS)]);
      const late = Array.from(delivered, ([n, at]) => Math.max(0, (resolved.get(n) ?? NaN) - at));
      assert.equal(resolved.size, TXIDS, `${resolved.size} of ${TXIDS} were resolved`);
      const { state } = stateOf(stepsOf("txids", TXIDS, seed));
      assert.deepEqual(stateOfDb(db), withKeys(state));
      const [median, most] = [0.5, 1].map((part) => quantile(late, part).toFixed(1));
      const within = late.filter((ms) => ms < 1000).length;
      console.log(
        `${language}: ${resolved.size} of ${TXIDS} awaitTxId resolved, ${within} within 1 s of the ` +
          `delivery; median ${median} ms, at most ${most} ms`,
      );
    });
  });
}

/** Runs a writer to its end. */
async function written(language, command, plan, count) {
  const { pathname, url } = freshStream(language, plan);
  await runWriter(command, [pathname, plan, count, seed]);
  return { url, plan, steps: [...stepsOf(plan, count, seed)] };
}

/** Compares what each reader has with what was to be written; the events as curl read them. */
async function readByAll({ url, plan, steps }) {
  const found = await curl(url);
  const expected = steps.map((step) => eventOf(step, plan));
  const stamped = found.map(withTime);
  const isStamped = plan === "strict";
  // One by one: the difference of two long lists takes minutes to print.
  assert.equal(found.length, expected.length);
  expected.forEach((event, index) => {
    assert.deepEqual(isStamped ? asTold(stamped[index], event) : stamped[index], event);
  });

  const response = await stream({ url, live: false, json: true });
  const items = await response.json();
  assert.equal(JSON.stringify(items), JSON.stringify(found), "the client reads what curl reads");
  const told = steps.filter(({ control }) => control !== undefined).map(({ control }) => control);
  assert.deepEqual(told, ["snapshot-start", "snapshot-end", "reset"]);
  assert.deepEqual(items.filter(isControlEvent).map(({ headers }) => headers.control), told);

  const { state, seen } = stateOf(steps);
  const materialized = new MaterializedState();
  for (const item of items) {
    if (isChangeEvent(item)) materialized.apply(item);
    else if (item.headers.control === "reset") materialized.clear();
  }
  const db = openDb(url);
  await db.preload();
  const inDb = stateOfDb(db);
  db.close();
  assert.deepEqual(inDb, withKeys(state));
  for (const [type, entities] of state) {
    assert.deepEqual(new Map(materialized.getType(type)), entities);
    const gone = [...seen.get(type)].filter((key) => !entities.has(key));
    assert.ok(gone.length > 0, "the plan deletes");
    for (const key of gone) {
      assert.equal(materialized.get(type, key), undefined);
      assert.ok(!inDb.get(type).has(key), `${key} is gone`);
    }
  }
  return found;
}

/** An event with its time as a number: each language has its own way to write one. */
function withTime(event) {
  const { timestamp } = event.headers;
  if (timestamp === undefined) return event;
  return { ...event, headers: { ...event.headers, timestamp: Date.parse(timestamp) } };
}

/** An event without the time that its producer gave it unasked. */
function asTold(event, { headers: { timestamp } }) {
  if (timestamp !== undefined) return event;
  const { timestamp: _, ...headers } = event.headers;
  return { ...event, headers };
}

function openDb(url) {
  const schema = { "~standard": { version: 1, vendor: "any", validate: (value) => ({ value }) } };
  return createStreamDB({
    streamOptions: { url, contentType: "application/json" },
    state: createStateSchema({
      orders: { schema, type: "order", primaryKey: "id" },
      users: { schema, type: "user", primaryKey: "id" },
    }),
  });
}

/** What is in the collections but what StreamDB puts there for itself. */
function stateOfDb({ collections: { orders, users } }) {
  const plain = ([key, row]) => {
    const own = Object.entries(row).filter(([name]) => name !== "_seq" && !name.startsWith("$"));
    return [key, Object.fromEntries(own)];
  };
  const all = [["order", orders], ["user", users]];
  return new Map(all.map(([type, { state }]) => [type, new Map(Array.from(state, plain))]));
}

/** StreamDB puts each key into its entity. */
function withKeys(state) {
  const whole = (entities) => new Map(Array.from(entities, ([id, entity]) => [id, { id, ...entity }]));
  return new Map(Array.from(state, ([type, entities]) => [type, whole(entities)]));
}

function freshStream(language, plan) {
  const pathname = `/interop/${language}-${plan}-${process.pid}-${Date.now()}`;
  return { pathname, url: `${server}/v1/stream${pathname}` };
}

async function createStream(url) {
  const headers = { "content-type": "application/json" };
  const { ok, status } = await fetch(url, { method: "PUT", headers });
  assert.ok(ok, `creating the stream: ${status}`);
}

/** Runs a writer to its end, and hands on each line that it prints. */
async function runWriter([program, ...script], words, onLine = () => {}) {
  const args = [...script, ...words.map(String)];
  const stdio = ["ignore", "pipe", "inherit"];
  const writer = spawn(program, args, { stdio, timeout: WRITER_LIMIT_MS });
  const ended = once(writer, "close");
  createInterface({ input: writer.stdout }).on("line", onLine);
  const [status, signal] = await ended;
  assert.equal(signal ?? status, 0, `${program} failed`);
}

function quantile(numbers, part) {
  const sorted = numbers.toSorted((one, other) => one - other);
  return sorted[Math.ceil(part * (sorted.length - 1))];
}

function after(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}

function setting(name) {
  const value = process.env[name];
  assert.ok(value, `${name} is not set; \`cargo xtask interop\` sets it`);
  return value;
}
