// A writer that is killed, in Node: `tests/faults/README.md` says what it is told and what it says.

import { writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import {
  createDurableStream,
  defineStreamSchema,
  DurableStream,
  IdempotentProducer,
} from "../../../../bindings-node/dist/index.mjs";

const ID = "kept";
const TICK_MS = 1;
/** Calls in a tick. */
const CALLS = 5;
/** Every such write begins a group of so many. */
const [GROUP_EACH, GROUP_AT, GROUP] = [10, 7, 3];

const [kind, streamPath, outboxDir, writer, first, end] = process.argv.slice(2);
const producer = open();
say(`open ${producer.stats().recovered}`);
let flagged = 0;
for (let number = Number(first), calls = 1; number < Number(end); calls += 1) {
  number += write(number);
  say(number - 1);
  if (calls % CALLS === 0) await sleep(TICK_MS);
  const now = producer.stats().uncertain;
  if (now !== flagged) {
    flagged = now;
    say(`flagged ${flagged}`);
  }
}
await (kind === "state" ? producer.close() : producer.detach());
const { accepted, delivered, uncertain } = producer.stats();
say(`end ${accepted} ${delivered} ${uncertain}`);

function open() {
  if (kind === "state") {
    const parcels = { schema: true, type: "parcel", primaryKey: "id" };
    const schema = defineStreamSchema({ parcels });
    return createDurableStream({ streamPath, schema, producerId: ID, outboxDir });
  }
  const stream = new DurableStream({ streamPath, contentType: "application/json" });
  return new IdempotentProducer(stream, ID, { outboxDir });
}

/** Makes one call; how many writes that were. */
function write(number) {
  const count = number % GROUP_EACH === GROUP_AT ? GROUP : 1;
  const receipt = called(Array.from({ length: count }, (_, n) => number + n));
  if (!receipt.accepted) throw receipt.refusal.error;
  return count;
}

function called(numbers) {
  const values = numbers.map(value);
  if (kind !== "state") {
    return values.length === 1 ? producer.append(values[0]) : producer.appendGroup(values);
  }
  const change = (changes, n) =>
    n % 5 === 4 ? changes.delete("parcels", value(n).id) : changes.upsert("parcels", value(n));
  if (numbers.length === 1) return change(producer, numbers[0]);
  return producer.transaction((changes) => {
    for (const n of numbers) change(changes, n);
  }).receipt;
}

function value(number) {
  const text = Array.from({ length: number % 97 }, (_, n) => "→é\"x"[(number + n) % 4]).join("");
  return { id: `${writer}-${number}`, text };
}

/** A line, at once and whole. */
function say(line) {
  writeSync(1, `${line}\n`);
}
