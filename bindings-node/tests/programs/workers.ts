// Four workers write and end by themselves, two more are terminated while they write to nobody.

import { once } from "node:events";
import { Worker, isMainThread, workerData } from "node:worker_threads";
import { fileURLToPath } from "node:url";

import { DurableStream, IdempotentProducer } from "durstream";

const contentType = "application/json";

if (isMainThread) {
  const [url = "", nobody = ""] = process.argv.slice(2);
  await DurableStream.create({ url, contentType });
  const start = (data: object) =>
    new Worker(fileURLToPath(import.meta.url), { workerData: data });
  const writing = [0, 1, 2, 3].map((worker) => start({ url, worker, forever: false }));
  const ends = writing.map((worker) => once(worker, "exit"));
  const stuck = [4, 5].map((worker) => start({ url: nobody, worker, forever: true }));
  await Promise.all(stuck.map((worker) => once(worker, "message")));
  await Promise.all(stuck.map((worker) => worker.terminate()));
  const codes = (await Promise.all(ends)).map(([code]) => code);
  if (codes.some((code) => code !== 0)) throw new Error(`workers ended with ${codes}`);
  console.log("four ended, two terminated");
  // What the terminated ones left is given up at once.
  process.exit(0);
} else {
  const { parentPort } = await import("node:worker_threads");
  const { url, worker, forever } = workerData as { url: string; worker: number; forever: boolean };
  const headers = { "X-Worker": async () => String(worker) };
  const handle = new DurableStream({ url, contentType, headers });
  const producer = new IdempotentProducer(handle, `worker-${worker}`, { onError: () => undefined });
  // No flush: the worker's own end does it.
  for (let n = 1; n <= 100; n += 1) producer.append({ worker, n });
  if (forever) {
    void producer.append({ worker, n: 101 }).completion;
    void producer.flush().catch(() => undefined);
    parentPort?.postMessage("writing");
  }
}
