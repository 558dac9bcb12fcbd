// Shuts the library down with writes delivered, with writes stuck, and with nothing.

import { DurableStream, IdempotentProducer, shutdown } from "durstream";

const [url = "", nobody = ""] = process.argv.slice(2);
const contentType = "application/json";

async function open(where: string) {
  const handle = new DurableStream({ url: where, contentType });
  return new IdempotentProducer(handle, "service", { onError: () => undefined });
}

async function failure(work: () => unknown): Promise<string> {
  try {
    await work();
    return "none";
  } catch (error) {
    return (error as Error).name;
  }
}

await DurableStream.create({ url, contentType });
const first = await open(url);
const receipt = first.append(1);
await shutdown({ timeoutMs: 20_000 });
console.log("first:", (await receipt.completion).status);
console.log("closed:", await failure(() => first.append(2)));

const stuck = (await open(nobody)).append(1);
console.log("nobody:", await failure(() => shutdown({ timeoutMs: 100 })));
const { status, reason } = await stuck.completion;
console.log("settled:", status, reason);

const second = (await open(url)).append(2);
console.log("second:", (await second.completion).status);
await shutdown();
await shutdown();
console.log("idle: done");
