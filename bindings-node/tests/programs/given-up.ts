// Writes to nobody and ends.

import { DurableStream, IdempotentProducer, pendingCount, setExitTimeout } from "durstream";

const [url = "", limit] = process.argv.slice(2);
if (limit !== undefined) setExitTimeout(Number(limit));
const handle = new DurableStream({ url, contentType: "application/json" });
const producer = new IdempotentProducer(handle, "nobody");
producer.appendMany([1, 2, 3]);
console.log(`${pendingCount()} are pending`);
