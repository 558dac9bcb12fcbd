// Receipts whose outcomes nobody awaits, of writes that fail.

import { DurableStream, IdempotentProducer } from "durstream";

const [url = ""] = process.argv.slice(2);
process.on("unhandledRejection", (error) => console.log("unhandled", error));
const handle = new DurableStream({ url, contentType: "application/json" });
const options = { deliveryTimeoutMs: 200, onError: () => undefined };
const producer = new IdempotentProducer(handle, "nobody", options);
const [refused, cancelled] = [producer.tryAppend("{"), producer.tryAppend("1")];
void refused.completion;
void cancelled.completion;
const [one, other] = await Promise.all([refused.completion, cancelled.completion]);
console.log(one.status, other.status);
