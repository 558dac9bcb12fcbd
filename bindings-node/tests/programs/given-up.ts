// Writes to nobody and ends.

import { DurableStream, IdempotentProducer } from "durstream";

const [url = ""] = process.argv.slice(2);
const handle = new DurableStream({ url, contentType: "application/json" });
const producer = new IdempotentProducer(handle, "nobody");
producer.appendMany([1, 2, 3]);
console.log("the end is reached");
