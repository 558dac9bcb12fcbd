// A service of the soak, in Node: six producers at once, two of which stay and four of which come
// and go. `tests/soak/README.md` says what each service does.

import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

import {
  createDurableStream,
  defineStreamSchema,
  DurableStream,
  IdempotentProducer,
} from "../../../../bindings-node/dist/index.mjs";

const SLOTS = 6;
/** The first slots have one stream and one producer all the time. */
const STAYING = 2;
/** A stream of the others is written by so many producers, one behind the other. */
const PRODUCERS = 2;
const TICK_MS = 100;
/** Writes in a tick, of a producer that stays and of one that goes. */
const WRITES = [2, 5];
const TICKS_PER_FLUSH = 10;
/** Of the creation of a stream: one fault may hit it nine times. */
const RETRIES = 40;

const { SOAK_NAME, SOAK_TOKEN, SOAK_SECONDS } = process.env;
const end = performance.now() + Number(SOAK_SECONDS) * 1000;
const schema = defineStreamSchema({
  parcels: { schema: true, type: "parcel", primaryKey: "id" },
});

// What V8 has not collected yet is no leak, and without a reason to collect it waits for very long.
setInterval(() => globalThis.gc?.(), 10_000).unref();

await Promise.all(Array.from({ length: SLOTS }, (_, slot) => fill(slot)));

/** A stream behind the other, until the end. */
async function fill(slot) {
  for (let stream = 0; performance.now() < end; stream += 1) await writeStream(slot, stream);
}

async function writeStream(slot, stream) {
  const writer = `${SOAK_NAME}${slot}x${stream}`;
  const stays = slot < STAYING;
  const isState = slot % 2 === 0;
  const sum = { written: 0, delivered: 0, uncertain: 0, retries: 0, sessions: 0 };
  const producers = stays ? 1 : PRODUCERS;
  for (let number = 0; number < producers; number += 1) {
    const life = 1000 * (1 + ((5 * stream + 3 * slot + number) % 5));
    const until = stays ? end : Math.min(end, performance.now() + life);
    const producer = await open(writer, slot, isState);
    for (let ticks = 1; performance.now() < until; ticks += 1) {
      for (let n = 0; n < WRITES[stays ? 0 : 1]; n += 1) {
        write(producer, writer, sum.written);
        sum.written += 1;
      }
      if (!stays && ticks % TICKS_PER_FLUSH === 0) await producer.flush();
      await sleep(TICK_MS);
    }
    const stats = await letGo(producer, number + 1 === producers && stream % 2 === 1);
    for (const name of ["delivered", "uncertain", "retries", "sessions"]) sum[name] += stats[name];
  }
  console.log(isState ? "state" : "json", writer, ...Object.values(sum));
}

async function open(writer, slot, isState) {
  const place = {
    streamPath: `/soak/${writer}`,
    requestTimeoutMs: 2000,
    // A token that expires: its file always has the newest.
    headers: { Authorization: async () => `Bearer ${await readFile(SOAK_TOKEN, "utf8")}` },
  };
  const producerId = `soak-${slot}`;
  if (isState) return createDurableStream({ ...place, schema, producerId });
  const stream = await DurableStream.create({
    ...place,
    contentType: "application/json",
    maxRetries: RETRIES,
  });
  return new IdempotentProducer(stream, producerId, { onUncertain: "resend" });
}

function write(producer, writer, number) {
  const value = { id: `${writer}-${number}`, text: filling(number) };
  const receipt =
    producer instanceof IdempotentProducer
      ? producer.append(value)
      : number % 5 === 4
        ? producer.delete("parcels", value.id)
        : producer.upsert("parcels", value);
  if (!receipt.accepted) throw receipt.refusal.error;
}

/** Text of many lengths, and not only ASCII. */
function filling(number) {
  return Array.from({ length: number % 97 }, (_, n) => "→é\"x"[(number + n) % 4]).join("");
}

/** Ends its stream where that is asked for. */
async function letGo(producer, endsStream) {
  if (!(producer instanceof IdempotentProducer)) await producer.close({ endStream: endsStream });
  else if (endsStream) await producer.close();
  else await producer.detach();
  return producer.stats();
}
