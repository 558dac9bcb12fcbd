// Writes to nobody and ends in one of several ways; says at its exit how many failures it was told.

import { Worker, isMainThread, workerData } from "node:worker_threads";
import { fileURLToPath } from "node:url";

import { DurableStream, IdempotentProducer, createDurableStream, defineStreamSchema, pendingCount, setExitTimeout } from "durstream";
import type { OnError } from "durstream";

const { url, count, ...given } = isMainThread
  ? { url: process.argv[2] ?? "", ending: process.argv[3] ?? "", count: Number(process.argv[4]) }
  : (workerData as { url: string; ending: string; count: number });

const isSilent = given.ending.startsWith("silent-");
const ending = given.ending.replace("silent-", "");

if (isMainThread && ending.startsWith("worker-")) {
  const data = { url, ending: ending.slice("worker-".length), count };
  const worker = new Worker(fileURLToPath(import.meta.url), { workerData: data });
  // Its own writes are given up with it, those of others are not.
  const other = new IdempotentProducer(new DurableStream({ url: `${url}/other` }), "other", { onError: () => undefined });
  other.append("x");
  worker.on("exit", (code) => {
    console.log(`the worker ended with ${code}, ${other.pendingCount} of another's`);
    other.stop();
  });
} else {
  main();
}

function main(): void {
  setExitTimeout(20);
  const reasons = new Map<string, number>();
  const onError: OnError = (_, { outcome }) => {
    const what = outcome.status === "delivery-unknown" ? "cancelled" : outcome.status; // nobody listens
    reasons.set(what, (reasons.get(what) ?? 0) + 1);
    if (ending === "again") open(`again-${Math.random()}`, onError).append("x");
  };
  process.on("exit", () => console.log(`told of ${[...reasons].join()}`));
  const producer = open("ends", isSilent ? undefined : onError);
  for (let n = 0; n < count; n += 1) producer.append("x".repeat(1000));
  if (ending === "stop") producer.stop();
  if (ending === "exit") process.exit(3);
  if (ending === "throw") throw new Error("mine");
  if (ending === "late-exit") setImmediate(() => process.exit(4));
  if (ending === "stop-exit") {
    producer.stop();
    process.exit(5);
  }
  if (ending === "state") {
    const schema = defineStreamSchema({ a: { schema: true, type: "a", primaryKey: "id" } });
    createDurableStream({ url: `${url}/state`, schema, producerId: "ends", onError }).upsert("a", { id: 1 });
  }
  if (ending === "blocked") {
    // The dispatcher waits for this event loop.
    producer.stop();
    for (const end = Date.now() + 100; Date.now() < end; );
  }
  if (ending === "listener") process.on("beforeExit", () => void pendingCount());
}

function open(id: string, onError: OnError | undefined): IdempotentProducer {
  return new IdempotentProducer(new DurableStream({ url }), id, { onError });
}
