// A program with a logger that goes wrong, or that ends in one of several ways.

import { Worker, isMainThread, workerData } from "node:worker_threads";
import { fileURLToPath } from "node:url";

import { DurableStream, IdempotentProducer, setExitTimeout, setLogger } from "durstream";

const [url, how] = isMainThread ? process.argv.slice(2) : ((workerData as string[]) ?? []);

async function publish(): Promise<IdempotentProducer> {
  const handle = await DurableStream.create({ url: `${url}-log`, contentType: "application/json" });
  return new IdempotentProducer(handle, "log");
}

const wrong = new Error("the logger's own");

if (how === "worker") {
  const worker = new Worker(fileURLToPath(import.meta.url), { workerData: [url, "within"] });
  worker.on("exit", () => {
    console.log("the worker has ended");
    setExitTimeout(20);
    const producer = new IdempotentProducer(new DurableStream({ url, contentType: "text/plain" }), "logs");
    producer.append("x");
  });
} else if (how === "within") {
  setLogger(() => undefined);
} else if (how === "given-up" || how === "exit") {
  setLogger(({ level, message }) => console.log(level, message));
  setExitTimeout(20);
  const producer = new IdempotentProducer(new DurableStream({ url, contentType: "text/plain" }), "logs");
  producer.append("x");
  while (producer.snapshot().lastError === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
  if (how === "exit") process.exit(0);
} else {
  const log = how === "publishes" ? await publish() : undefined;
  let isPublished = false;
  setLogger(
    ({ message, producerId }) => {
      if (log !== undefined) {
        if (producerId !== "log") log.append(JSON.stringify(message));
        if (message === "producer logs: connecting -> ready") isPublished = true;
      } else if (how === "rejects") return Promise.reject(wrong) as never;
      else throw wrong;
    },
    { level: "debug" },
  );
  const producer = new IdempotentProducer(await DurableStream.create({ url, contentType: "application/json" }), "logs");
  producer.append("1");
  await producer.flush();
  await producer.detach();
  // Lines come after what they tell of, and a logger keeps no process alive.
  do await new Promise((resolve) => setTimeout(resolve, 50));
  while (log !== undefined && !isPublished);
  setLogger(undefined);
  await log?.detach();
}
